"""The stratified test is the one that enumerating every split gives, and holds its level."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import StratifiedTable

from pitboss.analysis.proportions import newcombe
from pitboss.analysis.stratified import Tables, cluster_interval, exact_p, interval

cells = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))


def enumerated(strata: list[tuple[int, int, int, int]]) -> tuple[float, float, float]:
    """Two-sided, greater and less p, by going through every split of every stratum."""
    ways: dict[int, int] = {}
    spans = [range(max(0, a + b - nb), min(na, a + b) + 1) for a, na, b, nb in strata]
    for split in product(*spans):
        weight = 1
        for k, (a, na, b, nb) in zip(split, strata, strict=True):
            weight *= comb(na, k) * comb(nb, a + b - k)
        ways[sum(split)] = ways.get(sum(split), 0) + weight
    seen, total = sum(s[0] for s in strata), sum(ways.values())
    two = sum(w for w in ways.values() if w <= ways[seen])
    up = sum(w for k, w in ways.items() if k >= seen)
    down = sum(w for k, w in ways.items() if k <= seen)
    return two / total, up / total, down / total


@settings(max_examples=60, deadline=None)
@given(st.lists(cells, min_size=1, max_size=4))
def test_p_is_that_of_all_splits_counted_one_by_one(drawn) -> None:
    strata = [(min(a, na), na, min(b, nb), nb) for a, na, b, nb in drawn]
    tables = Tables.of(*(np.array([[s[i] for s in strata]]) for i in range(4)))
    expected = enumerated(strata)
    for side, p in zip(("two-sided", "greater", "less"), expected, strict=True):
        assert exact_p(tables, side)[0] == pytest.approx(p, abs=1e-12)
    shuffled = Tables(*(x[:, ::-1] for x in tables))
    assert exact_p(shuffled)[0] == pytest.approx(expected[0], abs=1e-12)


def test_many_features_at_once_agree_with_the_large_sample_test() -> None:
    """With 40 strata of 10 + 10 runs the Mantel-Haenszel test says nearly the same."""
    random = np.random.default_rng(3)
    level = random.uniform(0.2, 0.8, 40)
    shift = np.repeat([0.0, 0.05, 0.1], 10)[:, None]
    hits_a = random.binomial(10, level + shift)
    hits_b = random.binomial(10, np.broadcast_to(level, (30, 40)))
    p = exact_p(Tables.of(hits_a, 10, hits_b, 10))
    for row in range(30):
        a, b = hits_a[row], hits_b[row]
        tables = np.stack([[a, 10 - a], [b, 10 - b]]).astype(float)
        rough = StratifiedTable(tables).test_null_odds(correction=True).pvalue
        assert p[row] == pytest.approx(rough, abs=0.02)
    assert p[:10].mean() > 0.2 > 0.1 > p[20:].mean()


def test_one_stratum_is_fishers_test_and_newcombes_interval() -> None:
    tables = Tables.of([9, 0, 20], [20, 20, 20], [2, 0, 3], [18, 20, 20])
    for row, (a, n, b, m) in enumerate(zip(*(x[:, 0].tolist() for x in tables), strict=True)):
        fisher = stats.fisher_exact([[a, n - a], [b, m - b]])
        assert exact_p(tables)[row] == pytest.approx(fisher.pvalue, rel=1e-9)
        up = stats.fisher_exact([[a, n - a], [b, m - b]], alternative="greater")
        assert exact_p(tables, "greater")[row] == pytest.approx(up.pvalue, rel=1e-9)
    ends, plain = interval(tables), newcombe(*tables.pooled())
    np.testing.assert_array_equal(ends.low, plain.low)
    assert exact_p(Tables.of([], [], [], [])).shape == (0,)


def test_states_that_differ_among_themselves_make_no_effect_and_hide_none() -> None:
    """Half of the states always stop, half never; the arms are unequally divided among them."""
    none = Tables.of([[20, 0]], [[20, 5]], [[5, 0]], [[5, 20]])
    assert exact_p(none)[0] == 1.0
    assert exact_p(Tables.of(*none.pooled()))[0] < 1e-3
    real = Tables.of([[8, 2]] * 1, 10, [[10, 5]], 10)
    assert exact_p(real)[0] < exact_p(Tables.of(*real.pooled()))[0]


def test_the_interval_covers_the_mean_over_all_states_when_effects_differ_by_state() -> None:
    """20 states whose own effects are spread around 0.1: the pooled interval alone is too short."""
    random = np.random.default_rng(5)
    own = np.clip(0.1 + random.normal(0, 0.35, (600, 20)), -0.45, 0.45)
    mean = np.clip(0.1 + random.normal(0, 0.35, 10**6), -0.45, 0.45).mean()
    a = random.binomial(40, 0.5 + own)
    b = random.binomial(40, np.full((600, 20), 0.5))
    tables = Tables.of(a, 40, b, 40)
    ends, pooled = interval(tables), newcombe(*tables.pooled())
    assert ((ends.low <= mean) & (mean <= ends.high)).mean() > 0.93
    assert ((pooled.low <= mean) & (mean <= pooled.high)).mean() < 0.75


def test_states_without_a_value_are_left_out_of_the_clustered_interval() -> None:
    low, high = cluster_interval(np.array([[0.1, 0.3, np.nan, 0.2], [0.5, np.nan, np.nan, np.nan]]))
    expected = stats.t.interval(0.95, 2, 0.2, stats.sem([0.1, 0.3, 0.2]))
    assert (low[0], high[0]) == pytest.approx(expected)
    assert np.isnan(low[1]) and np.isnan(high[1])
