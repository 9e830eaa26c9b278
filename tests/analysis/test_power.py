"""Declared power against brute force, simulation and statsmodels; sentences against numbers."""

import json

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_effectsize

from pitboss.analysis.declaration import declaration
from pitboss.analysis.exact_power import PairChances, p_table, power
from pitboss.analysis.power import detectable, e_threshold, threshold, trials_needed
from pitboss.analysis.sequential import Rule, e_value
from pitboss.analysis.simulation import draw_pairs, follow, sequential_power
from pitboss.errors import BadInput
from pitboss.saes.false_discovery import benjamini_hochberg


def test_the_tables_of_p_are_those_of_scipy() -> None:
    for n in (1, 7, 20):
        fisher, paired = p_table(n, "fisher"), p_table(n, "paired")
        for a in range(n + 1):
            for b in range(n + 1):
                expected = stats.fisher_exact([[a, n - a], [b, n - b]]).pvalue
                assert fisher[a, b] == pytest.approx(expected, rel=1e-9)
                if 0 < a + b <= n:
                    exact = stats.binomtest(a, a + b).pvalue
                    assert paired[a, b] == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("coupling", [0.0, 0.6, 1.0])
def test_power_is_the_share_of_simulated_features_that_are_found(coupling: float) -> None:
    random, chances = np.random.default_rng(1), PairChances.of(0.7, 0.3, coupling)
    assert chances.both + chances.up == pytest.approx(0.7)
    assert chances.both + chances.down == pytest.approx(0.3)
    drawn = random.multinomial(
        24, [chances.both, chances.up, chances.down, chances.neither], size=100_000
    )
    both, up, down, _ = drawn.T
    for test, at in (("fisher", (both + up, both + down)), ("paired", (up, down))):
        for alpha in (0.05, 0.001):
            share = (p_table(24, test)[at] <= alpha).mean()
            exact = power(0.7, 0.3, 24, alpha, test=test, coupling=coupling)
            assert exact == pytest.approx(share, abs=4 * np.sqrt(0.25 / 100_000))


def test_independent_arms_agree_with_the_product_of_binomials() -> None:
    n, k = 20, np.arange(21)
    joint = np.outer(stats.binom.pmf(k, n, 0.9), stats.binom.pmf(k, n, 0.35))
    expected = joint[p_table(n, "fisher") <= 0.001].sum()
    assert power(0.9, 0.35, n, 0.001, test="fisher") == pytest.approx(expected, rel=1e-9)


def test_the_smallest_detectable_effect_is_the_smallest() -> None:
    found = detectable(0.25, 30, 1e-3)
    assert found.up is not None and found.down is None
    assert power(0.25 + found.up, 0.25, 30, 1e-3, test="fisher") >= 0.8
    assert power(0.25 + found.up - 0.005, 0.25, 30, 1e-3, test="fisher") < 0.8
    mirrored = detectable(0.75, 30, 1e-3)
    assert mirrored.down == pytest.approx(found.up) and mirrored.up is None


def test_the_trials_needed_suffice_and_are_near_the_textbook() -> None:
    alpha = 1e-3
    n = trials_needed(0.3, 0.3, alpha)
    assert n is not None
    assert all(power(0.6, 0.3, m, alpha, test="fisher") >= 0.8 for m in range(n, n + 3))
    assert power(0.6, 0.3, n - 1, alpha, test="fisher") < 0.81
    normal = NormalIndPower().solve_power(proportion_effectsize(0.6, 0.3), alpha=alpha, power=0.8)
    assert normal < n < 1.15 * normal  # exact tests cost a little
    assert trials_needed(0.9, 0.3, alpha) is None


def test_the_threshold_is_where_benjamini_hochberg_ends() -> None:
    """Effects with known power: the largest p that is kept, over simulated families."""
    random, tests, share, alpha = np.random.default_rng(0), 20_000, 0.02, 0.05
    z = stats.norm.isf(threshold(tests, share, alpha, 0.8)) + stats.norm.ppf(0.8)
    cutoffs, found = [], []
    for _ in range(20):
        effect = np.arange(tests) < share * tests
        p = stats.norm.sf(random.normal(size=tests) + z * effect)
        kept = benjamini_hochberg(p) <= alpha
        cutoffs.append(p[kept].max())
        found.append(kept[effect].mean())
    assert np.mean(cutoffs) == pytest.approx(threshold(tests, share, alpha, 0.8), rel=0.1)
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)
    assert threshold(100, 0.0, 0.05, 0.8) == 0.05 / 100
    with pytest.raises(BadInput, match="No threshold for 0 tests"):
        threshold(0, 0.1, 0.05, 0.8)


def test_a_rule_with_one_look_is_an_exact_computation() -> None:
    rule = Rule(tests=500, looks=(40,), smallest_effect=None, share=1.0)
    bound = e_threshold(rule, 0.05, 0.8)
    ups = np.arange(41)
    exact = stats.binom.pmf(ups, 40, 0.4)[e_value(ups, 0) >= bound].sum()
    got = sequential_power(0.5, 0.1, rule, bound=bound, coupling=1.0, features=20_000)
    assert got.power == pytest.approx(exact, abs=0.015) and got.pairs == 40


def test_following_a_rule_stops_where_reading_on_by_hand_would() -> None:
    random = np.random.default_rng(5)
    rule = Rule(tests=50, looks=(5, 10, 30), smallest_effect=0.3)
    stop_a, stop_b = draw_pairs(
        np.full((40, 2), 0.6), np.linspace([0.6] * 2, [0, 0], 40), 30, random
    )
    up, down = stop_a & ~stop_b, ~stop_a & stop_b
    done = follow(up.astype(int), down.astype(int), rule)
    assert {"effect", "futile"} <= set(done.state)
    for i in range(40):
        trials = done.pairs[i] // 2
        assert trials in rule.looks
        assert done.up[i] == up[i, :, :trials].sum() and done.down[i] == down[i, :, :trials].sum()
    assert (done.pairs[done.state == "futile"] < 60).any()


def test_the_declaration_says_its_numbers() -> None:
    plain = declaration(tests=18_600, trials=20, baselines=(0.25,))
    row = plain["table"][0]
    assert plain["p_strictest"] == 0.05 / 18_600
    assert row["smallest_raise"] == detectable(0.25, 20, plain["p_threshold"]).up
    assert row["runs_for_raise"] == trials_needed(0.25, 0.3, plain["p_threshold"])
    text = " ".join(plain["sentences"])
    assert f"the smallest raise {100 * row['smallest_raise']:.3g} (" in text and "no fall" in text
    rule = Rule(tests=18_600, looks=(20, 40))
    looked = declaration(tests=18_600, trials=20, baselines=(0.5,), rule=rule)
    assert looked["runs_per_arm"] == 40 and looked["rule"]["effect_bound"] == 372_000
    assert looked["table"][0]["runs_for_nothing_coupled"] < 40
    assert json.loads(json.dumps(looked)) | {"rule": None} == looked | {"rule": None}
