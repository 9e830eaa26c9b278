"""Counts of stops in two arms: exact tests and intervals, for thousands of tables at once."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """Lower and upper ends, arrays of one shape."""

    low: Floats
    high: Floats


def fisher_p(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike) -> Floats:
    """Two-sided p of Fisher's exact test of hits_a/n_a against hits_b/n_b.

    The hypergeometric distribution is computed once for each distinct set of margins: with 20 runs
    an arm, 18,600 features and prompts share 41 of them. Empty arms give p = 1.
    """
    a, of_a, b, of_b = (np.asarray(x, np.int64) for x in (hits_a, n_a, hits_b, n_b))
    p = np.ones(len(a))
    margins = np.stack([of_a, of_b, a + b], axis=-1)
    distinct, which = np.unique(margins, axis=0, return_inverse=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(which.reshape(-1), minlength=len(distinct)))
    for margin, end, start in zip(distinct, ends, [0, *ends[:-1]], strict=False):
        rows = order[start:end]
        least, of_hits = _fisher_of_margin(*map(int, margin))
        p[rows] = of_hits[a[rows] - least]
    return p


def wilson(hits: ArrayLike, n: ArrayLike, level: float = 0.95) -> Interval:
    """Wilson's score interval of hits/n; NaN where n is 0."""
    count, total = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = proportion_confint(count, total, alpha=1 - level, method="wilson")
    empty = total == 0
    return Interval(np.where(empty, np.nan, low), np.where(empty, np.nan, high))


def clopper_pearson(hits: ArrayLike, n: ArrayLike, level: float = 0.95) -> Interval:
    """Exact interval of hits/n, never too short; NaN where n is 0."""
    count, total = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    low, high = proportion_confint(count, np.maximum(total, 1), alpha=1 - level, method="beta")
    empty = total == 0
    return Interval(np.where(empty, np.nan, low), np.where(empty, np.nan, high))


def newcombe(
    hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike, level: float = 0.95
) -> Interval:
    """Newcombe's hybrid score interval of the difference hits_a/n_a - hits_b/n_b.

    Method 10 of Newcombe (1998), Statistics in Medicine 17, 873-890: it stays inside [-1, 1] and
    holds its level also for rates of 0 and 1, where the normal interval collapses.
    """
    a, b = rate(hits_a, n_a), rate(hits_b, n_b)
    of_a, of_b = wilson(hits_a, n_a, level), wilson(hits_b, n_b, level)
    down = np.sqrt((a - of_a.low) ** 2 + (of_b.high - b) ** 2)
    up = np.sqrt((of_a.high - a) ** 2 + (b - of_b.low) ** 2)
    return Interval(a - b - down, a - b + up)


def rate(hits: ArrayLike, n: ArrayLike) -> Floats:
    """hits/n; NaN where n is 0."""
    count, total = np.asarray(hits, np.float64), np.asarray(n, np.float64)
    return np.divide(count, total, out=np.full(count.shape, np.nan), where=total > 0)


def log_odds_ratio(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike) -> Floats:
    """ln odds ratio with 0.5 added to each cell (Haldane and Anscombe), so that it is finite."""
    a, na, b, nb = (np.asarray(x, np.float64) for x in (hits_a, n_a, hits_b, n_b))
    odds_a, odds_b = (a + 0.5) / (na - a + 0.5), (b + 0.5) / (nb - b + 0.5)
    return np.asarray(np.log(odds_a / odds_b), np.float64)


def _fisher_of_margin(n_a: int, n_b: int, hits: int) -> tuple[int, Floats]:
    """Least possible hits_a and the p of each possible hits_a from there on, margins given.

    p is the probability of all tables that are no likelier than the one at hand. Likelihoods equal
    but for rounding count as equal: 1 + 1e-7 is the tolerance of R's fisher.test.
    """
    least = max(0, hits - n_b)
    chance = stats.hypergeom.pmf(np.arange(least, min(hits, n_a) + 1), n_a + n_b, hits, n_a)
    no_likelier = chance[None, :] <= chance[:, None] * (1 + 1e-7)
    return least, np.minimum((no_likelier * chance).sum(axis=1), 1.0)
