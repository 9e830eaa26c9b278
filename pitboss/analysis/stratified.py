"""Shares of two arms compared within strata: exact, for thousands of features at once.

A stratum is one prompt. Given how many runs each arm has in it and how many events both have
together, the events of the first arm follow a hypergeometric distribution where the arms do not
differ. Their sum over the strata follows the convolution of these, and its tail is the p: no normal
approximation, no common effect assumed, and differences between states move nothing. With one
stratum it is Fisher's exact test.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pitboss.analysis.proportions import Floats, Interval, newcombe

Side = Literal["two-sided", "greater", "less"]
_TOLERANCE = 1 + 1e-7  # likelihoods equal but for rounding are equal, as in R's fisher.test


class Tables(NamedTuple):
    """Two-by-two tables: int64 arrays of one shape [features, strata]."""

    hits_a: NDArray[np.int64]
    n_a: NDArray[np.int64]
    hits_b: NDArray[np.int64]
    n_b: NDArray[np.int64]

    @classmethod
    def of(cls, hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike) -> "Tables":
        """Tables of broadcastable arrays; one stratum where these have one dimension."""
        arrays = np.broadcast_arrays(*(np.asarray(x, np.int64) for x in (hits_a, n_a, hits_b, n_b)))
        return cls(*(x[:, None] if x.ndim == 1 else x for x in arrays))

    def pooled(self) -> "Tables":
        """The strata added up: arrays [features]."""
        return Tables(*(x.sum(axis=1) for x in self))


def exact_p(tables: Tables, side: Side = "two-sided") -> Floats:
    """p [features] that the arms differ within strata.

    Args:
        tables: Counts [features, strata].
        side: Two-sided adds up all sums that are no likelier than the observed one; greater and
            less add up those that are at least or at most as large.
    """
    rows, strata = tables.hits_a.shape
    if rows == 0:
        return np.ones(0)
    margins = np.stack([tables.n_a, tables.n_b, tables.hits_a + tables.hits_b], axis=-1)
    # The order of the strata is of no consequence, so features share their distributions.
    order = np.lexsort(tuple(margins[..., i] for i in (2, 1, 0)), axis=1)
    ordered = np.take_along_axis(margins, order[..., None], axis=1).reshape(rows, -1)
    distinct, which = np.unique(ordered, axis=0, return_inverse=True)
    chances = _chances(distinct.reshape(len(distinct), strata, 3))[which.reshape(-1)]
    sums = tables.hits_a.sum(axis=1)
    at = np.arange(chances.shape[1])[None, :]
    if side == "two-sided":
        own = np.take_along_axis(chances, sums[:, None], axis=1)
        counted = chances <= own * _TOLERANCE
    else:
        counted = at >= sums[:, None] if side == "greater" else at <= sums[:, None]
    return np.minimum((chances * counted).sum(axis=1), 1.0)


def _chances(margins: NDArray[np.int64]) -> Floats:
    """Distribution [rows, sums] of the first arm's events over all strata; margins [rows, s, 3]."""
    kinds, which = np.unique(margins.reshape(-1, 3), axis=0, return_inverse=True)
    which = which.reshape(margins.shape[:2])
    widest = int(kinds[:, 0].max()) + 1
    of_kind = np.zeros((len(kinds), widest))
    for i, (n_a, n_b, hits) in enumerate(kinds.tolist()):
        least, most = max(0, hits - n_b), min(hits, n_a)
        if least == most:  # the margins leave no choice; without any run scipy would say NaN
            of_kind[i, least] = 1
            continue
        possible = np.arange(least, most + 1)
        of_kind[i, least : most + 1] = stats.hypergeom.pmf(possible, n_a + n_b, hits, n_a)
    length = int(margins[..., 0].sum(axis=1).max()) + 1
    joint = np.zeros((len(margins), length))
    joint[:, 0] = 1
    for stratum in range(margins.shape[1]):
        chance, before = of_kind[which[:, stratum]], joint
        joint = np.zeros_like(before)
        for events in range(min(widest, length)):
            joint[:, events:] += chance[:, events, None] * before[:, : length - events]
    return joint


def interval(tables: Tables, level: float = 0.95) -> Interval:
    """Interval [features] of the difference of the pooled shares, arm a minus arm b.

    With one stratum Newcombe's. With several it is widened, where needed, to the one that treats
    the strata as a sample of all states: a t interval over the strata's own differences. Newcombe's
    of the pooled counts is kept as the least, since a t interval collapses where all strata agree.
    """
    low, high = newcombe(*tables.pooled(), level)
    if tables.n_a.shape[1] < 2:
        return Interval(low, high)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_state = tables.hits_a / tables.n_a - tables.hits_b / tables.n_b
    clustered = cluster_interval(of_state, level)
    return Interval(
        np.maximum(np.fmin(low, clustered.low), -1), np.minimum(np.fmax(high, clustered.high), 1)
    )


def cluster_interval(values: Floats, level: float = 0.95) -> Interval:
    """t interval [features] of the mean over states of values [features, states].

    States without a value (NaN) are left out; fewer than two leave NaN.
    """
    known = np.isfinite(values)
    n = known.sum(axis=1)
    filled = np.where(known, values, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = filled.sum(axis=1) / n
        spread = (np.where(known, values - mean[:, None], 0) ** 2).sum(axis=1) / (n - 1)
        half = stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt(spread / n)
    few = n < 2
    return Interval(np.where(few, np.nan, mean - half), np.where(few, np.nan, mean + half))
