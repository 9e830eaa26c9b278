"""How often the tests of this package find an effect of given size: exactly, by enumeration.

A pair of runs with one noise is described by four chances: both stop, only the first stops (`up`),
only the second stops (`down`), both bet. The noise couples the arms: sampling takes the largest of
logit plus Gumbel noise, so between two options a value that raises the chance of a stop turns bets
into stops and no stop into a bet. `coupling` 1 is this case, 0 is independent arms; runs whose
answers decide with more than one token lie between.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from pitboss.analysis.proportions import Floats
from pitboss.analysis.undecided import mcnemar_p

Test = Literal["fisher", "paired"]
_KEPT = 64  # tables of p; a search asks for the same ones again


@dataclass(frozen=True)
class PairChances:
    """Chances of one pair; they add up to 1.

    Attributes:
        both: Both runs stop.
        up: The first stops, the second bets.
        down: The first bets, the second stops.
        neither: Both bet.
    """

    both: float
    up: float
    down: float
    neither: float

    @classmethod
    def of(cls, stop_a: float, stop_b: float, coupling: float) -> "PairChances":
        """Chances of arms with these stop rates, between independent (0) and coupled (1)."""
        high = max(stop_a - stop_b, 0.0), max(stop_b - stop_a, 0.0)
        free = stop_a * (1 - stop_b), stop_b * (1 - stop_a)
        up, down = (coupling * h + (1 - coupling) * f for h, f in zip(high, free, strict=True))
        both = stop_a - up
        return cls(both, up, down, max(1 - both - up - down, 0.0))


def power(
    stop_a: float, stop_b: float, n: int, alpha: float, *, test: Test, coupling: float = 0.0
) -> float:
    """Chance of p <= alpha.

    Args:
        stop_a, stop_b: Stop rates of the two arms.
        n: Runs in each arm; those of several states with these rates count together.
        alpha: Threshold of p.
        test: Fisher's exact test, or McNemar's of the pairs.
        coupling: How the shared noise couples the arms.
    """
    chances = PairChances.of(stop_a, stop_b, coupling)
    if test == "fisher":
        joint = _joint(chances.neither, chances.up, chances.down, chances.both, n)
    else:
        joint = _joint(chances.both + chances.neither, chances.up, chances.down, 0.0, n)
    return float(joint[p_table(n, test) <= alpha * (1 + 1e-9)].sum())


@lru_cache(maxsize=_KEPT)
def p_table(n: int, test: Test) -> Floats:
    """p [n+1, n+1] of every result with n runs in each arm.

    Fisher's has the stops of the first and the second arm as axes. McNemar's has `up` and `down`,
    and 1 where these exceed n together.
    """
    a, b = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
    if test == "paired":
        return np.where(a + b <= n, mcnemar_p(a, b), 1.0)
    chance = np.exp(_log_choose(n)[a] + _log_choose(n)[b] - _log_choose(2 * n)[a + b])
    p = np.empty_like(chance)
    for hits in range(2 * n + 1):
        first = np.arange(max(0, hits - n), min(n, hits) + 1)
        own = chance[first, hits - first]
        ordered = np.sort(own)
        no_likelier = np.searchsorted(ordered, own * (1 + 1e-7), side="right")
        p[first, hits - first] = ordered.cumsum()[no_likelier - 1]
    return np.minimum(p, 1.0)


def _log_choose(n: int) -> Floats:
    """ln of n over k, k = 0..n."""
    k = np.arange(n + 1)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), np.float64)


def _joint(none: float, first: float, second: float, both: float, n: int) -> NDArray[np.float64]:
    """Distribution [n+1, n+1] of two counts over n independent pairs.

    Its generating function is (none + first x + second y + both x y)^n, read off at the roots of
    unity; rounding is of the order of 1e-16 a cell.
    """
    root = np.exp(-2j * np.pi * np.arange(n + 1) / (n + 1))
    x, y = root[:, None], root[None, :]
    joint = np.fft.ifft2((none + first * x + second * y + both * x * y) ** n).real
    return np.maximum(joint, 0.0)
