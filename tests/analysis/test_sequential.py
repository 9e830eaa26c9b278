"""The sequential rule against its definition: integrals, enumerations, every reachable analysis."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from pitboss.analysis.pairs import count_pairs
from pitboss.analysis.sequential import (
    JEFFREYS,
    UNIFORM,
    Rule,
    anytime_p,
    decide,
    e_value,
    e_worst,
    ebh,
    ebh_q,
    effect_e,
)
from pitboss.errors import BadInput, Incomplete


@pytest.mark.parametrize("prior", [JEFFREYS, UNIFORM])
@pytest.mark.parametrize(("up", "down"), [(0, 0), (1, 0), (7, 2), (12, 0), (20, 20)])
def test_the_e_value_is_the_mixture_of_coins_over_the_fair_one(
    prior: float, up: int, down: int
) -> None:
    mixed, _ = integrate.quad(
        lambda x: stats.beta.pdf(x, prior, prior) * x**up * (1 - x) ** down, 0, 1, limit=200
    )
    assert e_value(up, down, prior) == pytest.approx(mixed * 2 ** (up + down), rel=1e-6)


@pytest.mark.parametrize("prior", [JEFFREYS, UNIFORM])
def test_the_next_fair_coin_leaves_the_mean_of_e_where_it_is(prior: float) -> None:
    up, down = (x.ravel() for x in np.meshgrid(np.arange(60), np.arange(60)))
    mean = (e_value(up + 1, down, prior) + e_value(up, down + 1, prior)) / 2
    np.testing.assert_allclose(mean, e_value(up, down, prior), rtol=1e-9)


@pytest.mark.parametrize("alpha", [0.3, 0.1, 0.02])
def test_looking_after_every_pair_errs_no_more_often_than_declared(alpha: float) -> None:
    """Exact: the chance of a fair coin's path to reach 1/alpha within 300 discordant pairs."""
    alive, reached = np.array([1.0]), 0.0
    for pairs in range(1, 301):
        alive = (np.append(alive, 0.0) + np.append(0.0, alive)) / 2
        up = np.arange(pairs + 1)
        hit = e_value(up, pairs - up) >= 1 / alpha
        reached += alive[hit].sum()
        alive[hit] = 0.0
    assert alpha / 20 < reached <= alpha


def test_no_difference_of_interest_is_given_up_more_often_than_declared() -> None:
    """Exact, for every pair distribution on a grid whose mean is at least the declared one."""
    s, miss = 0.3, 0.1
    for p_down in (0.0, 0.1, 0.3):
        p_up = p_down + s
        if p_up + p_down > 1:
            continue
        alive, lost = {(0, 0): 1.0}, 0.0
        for pairs in range(1, 31):
            grown: dict[tuple[int, int], float] = {}
            steps = ((1, 0, p_up), (0, 1, p_down), (0, 0, 1 - p_up - p_down))
            for (u, d), mass in alive.items():
                for more_u, more_d, p in steps:
                    at = (u + more_u, d + more_d)
                    grown[at] = grown.get(at, 0.0) + mass * p
            counts = np.array(list(grown))
            e, _ = effect_e(counts[:, 0], counts[:, 1], np.full(len(counts), pairs), s)
            alive = {}
            for at, given_up in zip(grown, e >= 1 / miss, strict=True):
                if given_up:
                    lost += grown[at]
                else:
                    alive[at] = grown[at]
        assert lost <= miss
    assert lost > 0


def test_effect_e_keeps_its_mean_when_the_effect_differs_between_states() -> None:
    """One pair in each of two states with means 0 and 0.6: together no less than 0.3 on average."""
    mean = 0.0
    for a, b in itertools.product((0, 1), repeat=2):
        chance = (1.0 if a == 0 else 0.0) * (0.6 if b else 0.4)
        mean += chance * effect_e(a + b, 0, 2, 0.3)[0]
    assert mean <= 1 + 1e-12
    symmetric = effect_e([5], [1], [12], 0.2)[0], effect_e([1], [5], [12], 0.2)[1]
    assert symmetric[0] == pytest.approx(symmetric[1])


def test_ebh_keeps_what_its_definition_keeps() -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        e = np.exp(random.normal(2, 3, random.integers(1, 40)))
        fdr = random.choice([0.05, 0.1, 0.5])
        ordered = np.sort(e)[::-1]
        ranks = [k for k in range(1, len(e) + 1) if ordered[k - 1] >= len(e) / (fdr * k)]
        kept = e >= ordered[max(ranks) - 1] if ranks else np.zeros(len(e), bool)
        np.testing.assert_array_equal(ebh(e, fdr), kept)
    assert not ebh([np.nan, 5.0], 0.1)[0] and ebh([np.nan, 10.0], 0.1)[1]
    # BH of the p-values 1/e is the same rule.
    np.testing.assert_allclose(ebh_q(e), stats.false_discovery_control(anytime_p(e)), rtol=1e-9)


def test_an_effect_is_kept_whatever_the_others_show() -> None:
    rule = Rule(tests=1000, looks=(40,), fdr=0.05)
    up = np.arange(0, 40)
    state = decide(up, 0, 40, 40, rule)
    first = int(np.argmax(state == "effect"))
    assert 2**first / np.sqrt(np.pi * first) == pytest.approx(rule.effect_bound, rel=0.9)
    others = np.full(999, 0.0)
    assert ebh(np.append(others, e_value(first, 0)), 0.05)[-1]
    assert not ebh(np.append(others, e_value(first - 1, 0)), 0.05)[-1]


def test_out_of_reach_is_exactly_what_no_continuation_can_reach() -> None:
    rule = Rule(tests=100, looks=(20,), share=0.2, smallest_effect=None)
    for up, down, left in itertools.product(range(8), range(8), range(8)):
        best = max(e_value(up + a, down + b) for a in range(left + 1) for b in range(left + 1 - a))
        expected = "futile" if best < rule.useful_bound else "running"
        if e_value(up, down) >= rule.effect_bound:
            expected = "effect"
        assert decide(up, down, up + down, left, rule) == expected


def test_a_feature_without_discordant_pairs_is_given_up() -> None:
    rule = Rule(tests=1000, looks=(10, 20, 100), smallest_effect=0.2, miss=0.05)
    pairs = np.arange(0, 60)
    state = decide(0, 0, pairs, 200 - pairs, rule)
    first = int(np.argmax(state == "futile"))
    assert 14 <= first <= 30  # the fixed test needs log(.05)/log(.8) = 13.4 pairs
    assert decide(0, 0, 50, 150, Rule(1000, (100,), smallest_effect=None)) == "running"


def test_pairs_are_matched_by_their_noise_and_undecided_runs_are_beside_them() -> None:
    listed = [
        ("a", 0, "stop", "bet"), ("a", 1, "bet", "stop"), ("a", 2, "bet", "bet"),
        ("a", 3, "stop", "stop"), ("a", 4, "none", "bet"), ("a", 5, "none", "stop"),
        ("b", 0, "stop", "none"), ("b", 1, "bet", "none"), ("b", 2, "none", "none"),
        ("b", 3, "stop", "bet"),
    ]  # fmt: skip
    rows = [
        {"feature": 7, "prompt": prompt, "trial": trial, "arm": arm, "decision": decision}
        for prompt, trial, *pair in listed
        for arm, decision in zip(("safe", "risky"), pair, strict=True)
    ]
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    counts = count_pairs(frame, ["feature"]).iloc[0].to_dict()
    # open_up: (none, bet), (stop, none), (none, none); open_down: (none, stop), (bet, none), both.
    assert counts == {
        "feature": 7, "up": 2, "down": 1, "same": 2, "open_up": 3, "open_down": 3, "undecided": 5,
    }  # fmt: skip
    assert len(count_pairs(frame, ["feature", "prompt"])) == 2
    with pytest.raises(Incomplete, match="no partner"):
        count_pairs(frame[frame["trial"] + (frame["arm"] == "safe") != 4], ["feature"])
    with pytest.raises(BadInput, match="share their noise"):
        count_pairs(pd.concat([frame, frame.iloc[:1]]), ["feature"])


def test_the_worst_case_is_the_least_that_any_completion_gives() -> None:
    for up, down, open_down in itertools.product(range(9), range(5), range(4)):
        if up < down:
            continue
        least = min(e_value(up, down + more) for more in range(open_down + 1))
        worst = e_worst(up, down, 0, open_down)
        if up > down + open_down:
            assert worst == pytest.approx(least)
        else:
            assert worst <= 1 + 1e-12


@pytest.mark.parametrize(
    "wrong", [{"looks": ()}, {"looks": (20, 10)}, {"fdr": 0.0}, {"share": 1.5}, {"miss": 1.0}]
)
def test_a_rule_outside_its_ranges_is_refused(wrong: dict) -> None:
    with pytest.raises(BadInput, match="is no sequential rule"):
        Rule(**{"tests": 10, "looks": (10, 20)} | wrong)
