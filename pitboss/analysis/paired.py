"""Differences between two arms that play the same games: same luck, same noise, another patch.

Yes or no (bankruptcy, stop): the exact test of McNemar, which asks whether the games that end
differently lean to one side, and Newcombe's interval for paired proportions. Numbers (rounds,
shares): sign flips of the paired differences, all of them where these are few, and the percentile
bootstrap over games. A patch without effect makes a difference as likely positive as negative,
which is all that these tests suppose.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pitboss.analysis.proportions import wilson

Floats = NDArray[np.float64]

LEVEL = 0.95
ALL_FLIPS = 14
"""Games up to which all sign flips are tried: 2^14 = 16,384."""

_BLOCK = 1000  # samples at once
_ROUNDING = 1e-9  # sums that differ by less are equal


class Differences(NamedTuple):
    """Paired differences of k comparisons; NaN where nothing follows from the pairs.

    Attributes:
        pairs: [k], games with a value in both arms.
        difference: [k], mean over the pairs, first minus second.
        low, high: [k], 95 % interval.
        p: [k], two-sided.
    """

    pairs: NDArray[np.int64]
    difference: Floats
    low: Floats
    high: Floats
    p: Floats


def paired_shares(first: Floats, second: Floats) -> Differences:
    """Compares yes (1) and no (0) of the same games.

    Args:
        first: [games, k]; NaN where a game has no value.
        second: [games, k] or [games, 1], the same games in the other arm.

    Returns:
        McNemar's exact p, and method 10 of Newcombe (1998), Statistics in Medicine 17, 2635-2650,
        whose interval stays inside [-1, 1] and does not collapse where no game ends differently.
    """
    a, b = np.broadcast_arrays(first, second)
    both = ~np.isnan(a) & ~np.isnan(b)
    a, b = np.where(both, a, 0) > 0, np.where(both, b, 0) > 0
    n = both.sum(axis=0)
    yes, only_a, only_b = (a & b).sum(0), (a & ~b).sum(0), (~a & b).sum(0)
    p = np.array(
        [
            stats.binomtest(int(up), int(up + down), 0.5).pvalue if up + down else 1.0
            for up, down in zip(only_a, only_b, strict=True)
        ]
    )
    low, high = _newcombe(yes, only_a, only_b, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = (only_a - only_b) / n
    none = n == 0
    return Differences(n, *(np.where(none, np.nan, x) for x in (difference, low, high, p)))


def paired_means(first: Floats, second: Floats, *, resamples: int, seed: int) -> Differences:
    """Compares a number of the same games.

    Args:
        first: [games, k]; NaN where a game has no value.
        second: [games, k] or [games, 1], the same games in the other arm.
        resamples: Sign flips and bootstrap samples.
        seed: Of both; the same flips and samples for all k comparisons.

    Returns:
        p is exact for at most 14 games, otherwise the share of flips (the observed one among them)
        that give a mean at least as far from 0. Two pairs are the least for an interval.
    """
    a, b = np.broadcast_arrays(first, second)
    change = a - b
    there = ~np.isnan(change)
    change = np.where(there, change, 0.0)
    n = there.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = change.sum(axis=0) / n
    p = np.where(n == 0, np.nan, _flipped(change, resamples, seed))
    low, high = _bootstrap(change, there, resamples, seed)
    few = n < 2
    return Differences(n, difference, np.where(few, np.nan, low), np.where(few, np.nan, high), p)


def _flipped(change: Floats, resamples: int, seed: int) -> Floats:
    """Two-sided p of the sums of [games, k] differences under flipped signs."""
    games, k = change.shape
    observed = np.abs(change.sum(axis=0))
    least = observed - _ROUNDING * np.maximum(1.0, np.abs(change).sum(axis=0))
    exact = games <= ALL_FLIPS
    total = 1 << games if exact else resamples
    rng = np.random.default_rng([seed, 1])
    as_far = np.zeros(k)
    for start in range(0, total, _BLOCK):
        size = min(_BLOCK, total - start)
        if exact:
            signs = 1.0 - 2.0 * ((np.arange(start, start + size)[:, None] >> np.arange(games)) & 1)
        else:
            signs = 1.0 - 2.0 * rng.integers(0, 2, (size, games))
        as_far += (np.abs(signs @ change) >= least).sum(axis=0)
    return as_far / total if exact else (as_far + 1) / (total + 1)


def _bootstrap(
    change: Floats, there: NDArray[np.bool_], resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Percentiles of the mean difference over games drawn with replacement."""
    games, k = change.shape
    rng = np.random.default_rng([seed, 2])
    means = np.full((resamples, k), np.nan)
    present = there.astype(np.float64)
    for start in range(0, resamples if games else 0, _BLOCK):
        size = min(_BLOCK, resamples - start)
        drawn = rng.multinomial(games, np.full(games, 1 / games), size).astype(np.float64)
        pairs = drawn @ present
        means[start : start + size] = np.divide(
            drawn @ change, pairs, out=np.full((size, k), np.nan), where=pairs > 0
        )
    tail = (1 - LEVEL) / 2
    ends = np.full((2, k), np.nan)
    some = ~np.isnan(means).all(axis=0)
    ends[:, some] = np.nanquantile(means[:, some], [tail, 1 - tail], axis=0)
    return ends[0], ends[1]


def _newcombe(
    yes: NDArray[np.int64], only_a: NDArray[np.int64], only_b: NDArray[np.int64], n: Floats
) -> tuple[Floats, Floats]:
    no = n - yes - only_a - only_b
    a, b = yes + only_a, yes + only_b
    of_a, of_b = wilson(a, n, LEVEL), wilson(b, n, LEVEL)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate_a, rate_b = a / n, b / n
        product = (yes * no - only_a * only_b).astype(np.float64)
        product = np.where(product > 0, np.maximum(product - n / 2, 0), product)
        margins = np.sqrt(a * (n - a) * 1.0 * b * (n - b))
        phi = np.where(margins > 0, product / margins, 0.0)
        down_a, up_a = rate_a - of_a.low, of_a.high - rate_a
        down_b, up_b = rate_b - of_b.low, of_b.high - rate_b
        down = np.sqrt(down_a**2 - 2 * phi * down_a * up_b + up_b**2)
        up = np.sqrt(up_a**2 - 2 * phi * up_a * down_b + down_b**2)
        return rate_a - rate_b - down, rate_a - rate_b + up
