"""Paired differences: other libraries' answers, all sign flips by hand, and what chance does."""

from itertools import product

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from pitboss.analysis.paired import paired_means, paired_shares

NAN = float("nan")
DRAWN = {"resamples": 2000, "seed": 7}


def shares(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = [1] * (both + first) + [0] * (second + neither)
    b = [1] * both + [0] * first + [1] * second + [0] * neither
    return np.array(a, float)[:, None], np.array(b, float)[:, None]


@pytest.mark.parametrize("table", [(3, 9, 2, 6), (0, 5, 0, 5), (10, 0, 0, 10), (1, 1, 7, 1)])
def test_shares_agree_with_statsmodels(table: tuple[int, int, int, int]) -> None:
    found = paired_shares(*shares(*table))
    both, first, second, neither = table
    known = mcnemar([[both, first], [second, neither]], exact=True).pvalue
    assert found.p[0] == pytest.approx(known)
    assert found.difference[0] == pytest.approx((first - second) / sum(table))
    assert -1 <= found.low[0] < found.difference[0] < found.high[0] <= 1


def test_shares_that_never_differ_still_have_an_interval() -> None:
    found = paired_shares(*shares(0, 0, 0, 20))
    assert found.p[0] == 1 and found.low[0] < 0 < found.high[0]


def test_newcombes_interval_covers() -> None:
    rng = np.random.default_rng(1)
    chances = [0.15, 0.1, 0.25, 0.5]  # both, first only, second only, neither
    drawn = rng.multinomial(25, chances, 1000)
    inside = []
    for row in drawn:
        found = paired_shares(*shares(*row))
        inside.append(found.low[0] <= -0.15 <= found.high[0])
    assert 0.93 < np.mean(inside) < 0.98


def test_few_games_try_every_sign() -> None:
    change = np.array([3.0, -1.0, 2.0, 0.5, 4.0])
    sums = [abs(np.dot(signs, change)) for signs in product([1, -1], repeat=5)]
    known = np.mean([total >= change.sum() - 1e-12 for total in sums])
    found = paired_means(change[:, None], np.zeros((5, 1)), **DRAWN)
    assert found.p[0] == known == 6 / 32
    assert found.difference[0] == change.mean()


def test_a_game_without_a_value_is_in_no_pair() -> None:
    first = np.array([[5.0, NAN], [7.0, NAN], [NAN, NAN], [6.0, 2.0]])
    second = np.array([[4.0], [NAN], [1.0], [4.0]])
    found = paired_means(first, second, **DRAWN)
    assert found.pairs.tolist() == [2, 1]
    assert found.difference.tolist() == [1.5, -2.0]
    assert np.isnan(found.low[1]) and not np.isnan(found.p[1])
    nothing = paired_means(np.full((4, 1), NAN), second, **DRAWN)
    assert nothing.pairs[0] == 0 and np.isnan([nothing.difference[0], nothing.p[0]]).all()
    assert np.isnan(paired_shares(np.full((4, 1), NAN), second * 0).p[0])


def test_under_no_effect_p_is_uniform_and_intervals_cover() -> None:
    rng = np.random.default_rng(2)
    common = rng.gamma(2.0, size=(30, 1))  # what pairs share
    first = common + rng.exponential(size=(30, 600))
    second = common + rng.exponential(size=(30, 600))
    found = paired_means(first, second, **DRAWN)
    assert (found.p <= 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert (found.p <= 0.5).mean() == pytest.approx(0.5, abs=0.06)
    assert ((found.low <= 0) & (found.high >= 0)).mean() == pytest.approx(0.94, abs=0.03)
    assert found.p.min() >= 1 / 2001


def test_the_same_seed_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(2, 40, 3))
    one, again = (paired_means(first, second, **DRAWN) for _ in range(2))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    other = paired_means(first, second, resamples=2000, seed=8)
    assert (other.low != one.low).any()
