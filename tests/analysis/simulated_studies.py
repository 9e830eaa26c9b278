"""Whole studies with a known truth, judged by the fixed and the sequential design.

`python -m tests.analysis.simulated_studies` prints the table of docs/statistics.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitboss.analysis.exact_power import Test
from pitboss.analysis.proportions import Floats
from pitboss.analysis.sequential import Rule, ebh
from pitboss.analysis.simulation import draw_pairs, follow
from pitboss.analysis.stratified import Tables, exact_p
from pitboss.analysis.undecided import mcnemar_p
from pitboss.saes.false_discovery import benjamini_hochberg

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class World:
    """What is true of the simulated features.

    Attributes:
        features: How many are patched.
        share: Share of them with an effect.
        effects: Sizes of these effects, differences of stop rates; each is as frequent.
        rates: Range of the stop rates without an effect, one for each feature and state.
        states: Prompts of one test.
        coupling: How far both arms, and with them all features, share their noise.
    """

    features: int = 2000
    share: float = 0.02
    effects: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6)
    rates: tuple[float, float] = (0.05, 0.4)
    states: int = 2
    coupling: float = 0.5


class Outcome(NamedTuple):
    """One design in one study.

    Attributes:
        found: Features called causal.
        false: Of these, features without an effect.
        power: Share of the features with an effect that are found; NaN without any.
        by_effect: The same for each size of the world's effects.
        runs: Patched runs of all features.
    """

    found: int
    false: int
    power: float
    by_effect: tuple[float, ...]
    runs: int

    @property
    def false_share(self) -> float:
        """Share of false ones among those found, 0 where nothing is found."""
        return self.false / max(self.found, 1)


class Study(NamedTuple):
    """Stops of both arms [features, states, trials] and each feature's true effect."""

    stop_a: Flags
    stop_b: Flags
    effect: Floats


def draw(world: World, trials: int, random: np.random.Generator) -> Study:
    """One study; the effects go up and down alike, and the same way in every state."""
    shape = world.features, world.states
    low, high = world.rates
    rate = low + (high - low) * random.random(shape)
    effect = np.zeros(world.features)
    chosen = np.arange(world.features) < round(world.share * world.features)
    effect[chosen] = np.resize(world.effects, chosen.sum())
    raised = np.minimum(rate + effect[:, None], 1.0)
    turned = random.random(world.features)[:, None] < 0.5
    first, second = np.where(turned, rate, raised), np.where(turned, raised, rate)
    return Study(*draw_pairs(first, second, trials, random, world.coupling), effect)


def fixed(study: Study, trials: int, fdr: float, test: Test) -> Flags:
    """Features that the fixed design calls causal from the first trials of each state."""
    a, b = study.stop_a[..., :trials], study.stop_b[..., :trials]
    if test == "paired":
        up, down = (a & ~b).sum(axis=(1, 2)), (~a & b).sum(axis=(1, 2))
        p = np.where(up + down > 0, mcnemar_p(up, down), np.nan)
    else:
        tables = Tables.of(a.sum(axis=2), trials, b.sum(axis=2), trials)
        hits, _, more, _ = tables.pooled()
        runs = 2 * trials * a.shape[1]
        idle = (hits + more == 0) | (hits + more == runs)
        p = np.where(idle, np.nan, exact_p(tables))
    return np.asarray(benjamini_hochberg(p) <= fdr)


def sequential(study: Study, rule: Rule) -> tuple[Flags, int]:
    """Features that the sequential design calls causal, and the runs it needed."""
    a, b = study.stop_a, study.stop_b
    done = follow((a & ~b).astype(np.int64), (~a & b).astype(np.int64), rule)
    return ebh(np.exp(done.log_e(rule)), rule.fdr), int(2 * done.pairs.sum())


def outcome(study: Study, found: Flags, runs: int, world: World) -> Outcome:
    """What a design's calls are worth."""
    true = study.effect > 0
    sizes = tuple(
        float(found[study.effect == size].mean()) if (study.effect == size).any() else np.nan
        for size in world.effects
    )
    power = float(found[true].mean()) if true.any() else np.nan
    return Outcome(int(found.sum()), int((found & ~true).sum()), power, sizes, runs)


def studies(
    world: World, rule: Rule, *, count: int, planned: int, seed: int = 0
) -> Iterator[dict[str, Outcome]]:
    """Simulate studies and judge each of them by four designs.

    Args:
        world: What is true.
        rule: The sequential rule; its last analysis also is the long fixed design.
        count: How many studies.
        planned: Trials of the short fixed design, per state and arm.
        seed: Of the generator.

    Yields:
        Design -> outcome: fisher and paired (planned trials), `long paired` (as many trials as the
        rule's last analysis) and sequential.
    """
    random = np.random.default_rng(seed)
    for _ in range(count):
        study = draw(world, rule.trials, random)
        size = 2 * world.features * world.states
        found, runs = sequential(study, rule)
        designs = {
            "fisher": (fixed(study, planned, rule.fdr, "fisher"), size * planned),
            "paired": (fixed(study, planned, rule.fdr, "paired"), size * planned),
            "long paired": (fixed(study, rule.trials, rule.fdr, "paired"), size * rule.trials),
            "sequential": (found, runs),
        }
        yield {name: outcome(study, *of_design, world) for name, of_design in designs.items()}


def _table(count: int = 200) -> None:
    looks = (10, 20, 40, 80, 160)
    worlds = {
        f"{share:.0%} with an effect, coupling {coupling:g}": World(share=share, coupling=coupling)
        for share in (0.0, 0.02)
        for coupling in (0.0, 0.5, 1.0)
    }
    print("| World | Design | Studies with a find | False share | Power | Runs a feature |")
    print("|---|---|---:|---:|---:|---:|")
    for name, world in worlds.items():
        rule = Rule(tests=world.features, looks=looks, share=0.05)
        done = list(studies(world, rule, count=count, planned=20))
        for design in done[0]:
            of = [one[design] for one in done]
            power = ""
            if world.share:
                sizes = np.mean([x.by_effect for x in of], axis=0)
                each = ", ".join(f"{100 * s:.0f}" for s in sizes)
                power = f"{np.mean([x.power for x in of]):.1%} ({each})"
            print(
                f"| {name} | {design} | {np.mean([x.found > 0 for x in of]):.1%} "
                f"| {np.mean([x.false_share for x in of]):.2%} | {power} "
                f"| {np.mean([x.runs for x in of]) / world.features:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    _table()
