"""Many tables at once say what scipy and statsmodels say of each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from pitboss.analysis.proportions import fisher_p, log_odds_ratio, newcombe, rate, wilson

sizes = st.integers(1, 40)


@settings(max_examples=150, deadline=None)
@given(sizes, sizes, st.data())
def test_fisher_and_newcombe_are_those_of_the_libraries(n_a: int, n_b: int, data) -> None:
    a, b = data.draw(st.integers(0, n_a)), data.draw(st.integers(0, n_b))
    [p] = fisher_p([a], [n_a], [b], [n_b])
    exact = stats.fisher_exact([[a, n_a - a], [b, n_b - b]]).pvalue
    assert p == pytest.approx(exact, rel=1e-9)
    assert p == pytest.approx(fisher_p([b], [n_b], [a], [n_a])[0])
    ours = newcombe([a], [n_a], [b], [n_b])
    theirs = confint_proportions_2indep(a, n_a, b, n_b, compare="diff", method="newcomb")
    np.testing.assert_allclose([ours.low[0], ours.high[0]], theirs, atol=1e-12)
    assert -1 - 1e-12 <= ours.low[0] <= a / n_a - b / n_b <= ours.high[0] <= 1 + 1e-12


def test_empty_arms_are_not_evaluable_and_never_infinite() -> None:
    assert np.isnan(rate([0], [0])).all() and np.isnan(wilson([0], [0]).low).all()
    assert np.isnan(newcombe([0], [0], [1], [2]).high).all()
    assert np.isfinite(log_odds_ratio([20], [20], [0], [20])).all()
    assert log_odds_ratio([5], [10], [5], [10])[0] == 0
    assert len(fisher_p([], [], [], [])) == 0


def test_the_order_of_many_tables_is_kept() -> None:
    random = np.random.default_rng(1)
    tables = random.integers(0, 21, (500, 2))
    n = np.full(500, 20)
    p = fisher_p(tables[:, 0], n, tables[:, 1], n)
    for row in range(0, 500, 50):
        a, b = map(int, tables[row])
        exact = stats.fisher_exact([[a, 20 - a], [b, 20 - b]]).pvalue
        assert p[row] == pytest.approx(exact, rel=1e-9)
