"""Studies with a known truth: errors stay below what is declared, power is what is declared.

The full table, 200 studies for each world, is in docs/statistics.md; this is a reduced version.
"""

import numpy as np
import pytest
from scipy import stats

from pitboss.analysis.exact_power import power
from pitboss.analysis.sequential import Rule
from tests.analysis.simulated_studies import Outcome, World, draw, studies

LOOKS = (10, 20, 40, 80)


def judged(world: World, count: int, seed: int = 0) -> dict[str, list[Outcome]]:
    rule = Rule(tests=world.features, looks=LOOKS, share=0.05)
    done = list(studies(world, rule, count=count, planned=20, seed=seed))
    return {design: [one[design] for one in done] for design in done[0]}


@pytest.mark.parametrize("coupling", [0.0, 0.5])
def test_studies_without_an_effect_rarely_find_one(coupling: float) -> None:
    """Without effects, the chance of any find is the false discovery rate: at most 5 %."""
    world = World(features=300, share=0.0, coupling=coupling)
    for design, outcomes in judged(world, 60).items():
        finds = sum(outcome.found > 0 for outcome in outcomes)
        assert finds <= stats.binom.isf(1e-3, len(outcomes), 0.05), design


@pytest.mark.parametrize("coupling", [0.0, 0.5, 1.0])
def test_the_false_share_is_below_the_declared_rate(coupling: float) -> None:
    world = World(features=500, share=0.06, coupling=coupling)
    for design, outcomes in judged(world, 25, seed=1).items():
        shares = np.array([outcome.false_share for outcome in outcomes])
        assert shares.mean() <= 0.05 + 3 * shares.std() / np.sqrt(len(shares)), design
        assert all(outcome.found > 0 for outcome in outcomes), design


def test_the_sequential_design_finds_more_for_fewer_runs_where_noise_is_shared() -> None:
    of = judged(World(features=500, share=0.04, coupling=1.0), 10, seed=2)
    mean = {
        design: (np.mean([o.power for o in outcomes]), np.mean([o.runs for o in outcomes]))
        for design, outcomes in of.items()
    }
    assert mean["sequential"][0] > mean["fisher"][0] + 0.2
    assert mean["sequential"][1] < 0.7 * mean["fisher"][1]
    # Nothing is free: as many trials as its last look for all features would find at least as much.
    assert mean["long paired"][0] >= mean["sequential"][0]


def test_power_is_as_declared() -> None:
    """Many effects of one size: the share found is the exact power at the cut-off reached."""
    world = World(
        features=400, share=0.5, effects=(0.5,), rates=(0.25, 0.25), states=1, coupling=0.0
    )
    outcomes = judged(world, 10, seed=3)["fisher"]
    found = np.mean([outcome.power for outcome in outcomes])
    # Half of the tests have an effect: BH ends where p = .05 (.5 w + .5 p), w being the power.
    # Exact p are no larger than that for a null feature, so the true cut-off lies a little below.
    low, high = (power(0.75, 0.25, 20, alpha, test="fisher") for alpha in (0.015, 0.026))
    assert low - 0.03 <= found <= high + 0.03


def test_the_drawn_rates_are_those_of_the_world() -> None:
    world = World(features=400, share=0.5, effects=(0.4,), rates=(0.3, 0.3), coupling=0.3)
    study = draw(world, 200, np.random.default_rng(0))
    a, b = study.stop_a.mean(axis=(1, 2)), study.stop_b.mean(axis=(1, 2))
    true = study.effect > 0
    assert np.abs(a - b)[true].mean() == pytest.approx(0.4, abs=0.02)
    assert (a - b)[~true].mean() == pytest.approx(0.0, abs=0.02)
    assert b[~true].mean() == pytest.approx(0.3, abs=0.04)
    # Where all noise is shared, an effect turns no pair the other way.
    coupled = draw(World(features=400, share=0.5, coupling=1.0), 50, np.random.default_rng(0))
    up = (coupled.stop_a & ~coupled.stop_b).any(axis=(1, 2))
    down = (~coupled.stop_a & coupled.stop_b).any(axis=(1, 2))
    assert not (up & down).any() and not (up | down)[coupled.effect == 0].any()
