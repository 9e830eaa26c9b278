"""When is enough known about a feature? Tests that hold at any interim analysis.

A pair is one trial with one noise in two arms; `up` counts the pairs in which the first arm stops
and the second bets, `down` the opposite. If the value has no effect on stopping, each discordant
pair is a fair coin whatever came before. The e-value is the likelihood of a mixture of biased coins
over that of the fair one,

    e = 2^(up+down) B(up+a, down+a) / B(a, a),

a nonnegative martingale with mean 1 under no effect (Robbins 1970, Annals of Mathematical
Statistics 41, 1397-1409; for two arms Turner, Ly and Gruenwald 2024, Statistica Neerlandica 78;
for the theory Ramdas, Gruenwald, Vovk and Shafer 2023, Statistical Science 38, 576-601). States are
strata: their pairs are pooled, since each of them is a fair coin where nothing has an effect.

What is guaranteed:

* One feature: the chance that e ever reaches 1/alpha without an effect is at most alpha (Ville),
  whatever the analyses and the reason to stop.
* Many features: e-BH (Wang and Ramdas 2022, JRSS B 84, 822-852) over the e-values at which the
  features stopped keeps the false discovery rate, however the features depend on each other. A
  feature's stopping may depend on its own pairs only, or on all features at analyses made at
  one trial number for all: `decide` takes one feature alone and so allows any order of work.
* Stopping for futility takes away evidence and never adds any: it cannot raise false discoveries.
* A feature whose average difference is at least `smallest_effect` is given up by the e-process for
  futility with a chance of at most `miss`. This holds for analyses after the same number of pairs
  in each state; by the inequality of the means the effect may differ between states.
* A pair with an undecided run is neither up nor down. `e_worst` says what is left if each of them
  had gone against the effect.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, logsumexp

from pitboss.errors import BadInput

Floats = NDArray[np.float64]

JEFFREYS, UNIFORM = 0.5, 1.0
"""Both parameters of the Beta distribution over which the coin's bias is mixed."""

_BETS = 40


@dataclass(frozen=True)
class Rule:
    """What is declared before the first run.

    Args:
        tests: Features (or features and states) over which the correction runs.
        looks: Trials per state after which an interim analysis is made, ascending; the last one is
            the end.
        fdr: False discovery rate.
        share: Largest share of tests that can be expected to have an effect. A feature goes on as
            long as it can reach what e-BH would then ask for.
        smallest_effect: Smallest difference of stop rates that is worth finding; None for no
            futility by effect size.
        miss: Greatest chance to give up an effect of that size for futility.
        prior: Parameter of the mixture: JEFFREYS or UNIFORM.

    Raises:
        BadInput: A number outside its range.
    """

    tests: int
    looks: tuple[int, ...]
    fdr: float = 0.05
    share: float = 0.1
    smallest_effect: float | None = 0.2
    miss: float = 0.05
    prior: float = JEFFREYS

    def __post_init__(self) -> None:
        wrong = {
            "tests": self.tests < 1,
            "looks": not self.looks
            or self.looks[0] < 1
            or list(self.looks) != sorted({*self.looks}),
            "fdr": not 0 < self.fdr < 1,
            "share": not 0 < self.share <= 1,
            "smallest_effect": self.smallest_effect is not None
            and not 0 < self.smallest_effect < 1,
            "miss": not 0 < self.miss < 1,
            "prior": not self.prior > 0,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise BadInput(
                    f"{name} = {getattr(self, name)!r} is no sequential rule.",
                    where=name,
                    next="Ascending looks of at least one trial; shares and rates between 0 and 1.",
                )

    @property
    def trials(self) -> int:
        """Most trials per state and arm."""
        return self.looks[-1]

    @property
    def effect_bound(self) -> float:
        """From here on e-BH keeps a feature whatever the others show: tests / fdr."""
        return self.tests / self.fdr

    @property
    def useful_bound(self) -> float:
        """e-BH keeps nothing below this, if it keeps at most `share` of all: 1 / (fdr share)."""
        return min(1 / (self.fdr * self.share), self.effect_bound)


def log_e(up: ArrayLike, down: ArrayLike, prior: float = JEFFREYS) -> Floats:
    """Natural logarithm of `e_value`."""
    u, d = np.asarray(up, np.float64), np.asarray(down, np.float64)
    return np.asarray(
        (u + d) * np.log(2.0) + betaln(u + prior, d + prior) - betaln(prior, prior), np.float64
    )


def e_value(up: ArrayLike, down: ArrayLike, prior: float = JEFFREYS) -> Floats:
    """Evidence against "no effect" in discordant pairs; 1 without any.

    Args:
        up, down: Discordant pairs of the two directions, arrays of one shape.
        prior: Parameter of the mixture.

    Returns:
        e-values of that shape; infinite beyond the range of a double.
    """
    with np.errstate(over="ignore"):
        return np.exp(log_e(up, down, prior))


def e_worst(
    up: ArrayLike,
    down: ArrayLike,
    open_up: ArrayLike,
    open_down: ArrayLike,
    prior: float = JEFFREYS,
) -> Floats:
    """e-value with every undecided run counted against the observed direction.

    Args:
        up, down, open_up, open_down: As `pairs.count_pairs` counts them.
        prior: Parameter of the mixture.

    Returns:
        At most `e_value(up, down)`; at most 1 where the direction would be lost.
    """
    u, d, ou, od = (np.asarray(x, np.float64) for x in (up, down, open_up, open_down))
    lead, rest = np.maximum(u, d), np.minimum(u, d) + np.where(u >= d, od, ou)
    e = e_value(lead, rest, prior)
    return np.where(rest < lead, e, np.minimum(e_value(lead, lead, prior), 1.0))


def anytime_p(e: ArrayLike) -> Floats:
    """p-value that holds at any stopping time: min(1, 1/e)."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.minimum(1.0, 1.0 / np.asarray(e, np.float64)), np.float64)


def ebh_q(e: ArrayLike) -> Floats:
    """Smallest false discovery rate at which e-BH keeps each; NaN stays NaN and is not counted."""
    values = np.asarray(e, np.float64)
    q = np.full(values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    if len(tested):
        order = tested[np.argsort(-values[tested], kind="stable")]
        with np.errstate(divide="ignore"):
            asked = len(order) / (np.arange(1, len(order) + 1) * values[order])
        q[order] = np.minimum(np.minimum.accumulate(asked[::-1])[::-1], 1.0)
    return q


def ebh(e: ArrayLike, fdr: float) -> NDArray[np.bool_]:
    """Which e-values e-BH keeps: the k largest, for the largest k whose k-th is >= n/(fdr k)."""
    return np.nan_to_num(ebh_q(e), nan=np.inf) <= fdr * (1 + 1e-12)


def decide(
    up: ArrayLike, down: ArrayLike, pairs: ArrayLike, remaining: ArrayLike, rule: Rule
) -> NDArray[np.str_]:
    """What becomes of each feature at an interim analysis, from its own pairs alone.

    Args:
        up, down: Discordant pairs so far, pooled over states.
        pairs: Pairs so far in which both runs are decided, up and down included.
        remaining: Pairs that are still to come, over all states.
        rule: The declared rule.

    Returns:
        Per feature `effect` (e-BH will keep it), `futile` (stopped without enough evidence),
        or `running`. With nothing remaining, `running` is a feature that only e-BH decides.

    Raises:
        BadInput: More discordant pairs than pairs, or a negative count.
    """
    u, d, n, left = np.broadcast_arrays(
        *(np.asarray(x, np.int64) for x in (up, down, pairs, remaining))
    )
    if (u + d > n).any() or min(x.min(initial=0) for x in (u, d, left)) < 0:
        raise BadInput("A feature has more discordant pairs than pairs, or a negative count.")
    now = log_e(u, d, rule.prior)
    state = np.full(u.shape, "running", dtype="<U7")
    state[_out_of_reach(u, d, left, rule) | _too_small(u, d, n, left, rule)] = "futile"
    state[now >= np.log(rule.effect_bound)] = "effect"
    return state


def effect_e(
    up: ArrayLike, down: ArrayLike, pairs: ArrayLike, smallest_effect: float
) -> tuple[Floats, Floats]:
    """e-values against a difference of at least +smallest_effect and at most -smallest_effect.

    A pair counts x = +1 (up), -1 (down) or 0, with the difference of the stop rates as its mean.
    Against a mean of at least s, 1 + b (s - x) multiplies to a supermartingale for every bet b in
    [0, 1/(1-s)] (Waudby-Smith and Ramdas 2024, JRSS B 86, 1-27); the mean over evenly spaced bets
    is one as well.
    """
    u, d, n = (np.asarray(x, np.float64)[..., None] for x in (up, down, pairs))
    s, same = smallest_effect, n - u - d
    bets = (np.arange(_BETS) + 0.5) / _BETS / (1 - s)
    lost, idle, won = np.log1p(bets * (s - 1)), np.log1p(bets * s), np.log1p(bets * (s + 1))
    with np.errstate(over="ignore"):
        too_few_up = logsumexp(u * lost + same * idle + d * won, axis=-1) - np.log(_BETS)
        too_few_down = logsumexp(d * lost + same * idle + u * won, axis=-1) - np.log(_BETS)
        return np.exp(too_few_up), np.exp(too_few_down)


def _out_of_reach(u: Any, d: Any, left: Any, rule: Rule) -> NDArray[np.bool_]:
    """Even the most favourable remaining pairs leave e below what e-BH could ask for.

    log e is convex along every line of counts, so its greatest value is at a corner: all remaining
    pairs discordant in one direction, or none of them.
    """
    best = np.maximum(log_e(u + left, d, rule.prior), log_e(u, d + left, rule.prior))
    best = np.maximum(best, log_e(u, d, rule.prior))
    return np.asarray(best < np.log(rule.useful_bound), np.bool_)


def _too_small(u: Any, d: Any, n: Any, left: Any, rule: Rule) -> NDArray[np.bool_]:
    """Both signs of the smallest effect of interest are refuted, and the bound is not reached."""
    if rule.smallest_effect is None:
        return np.zeros(u.shape, np.bool_)
    up, down = effect_e(u, d, n, rule.smallest_effect)
    short = log_e(u, d, rule.prior) < np.log(rule.useful_bound)
    return np.asarray((np.minimum(up, down) >= 1 / rule.miss) & short & (left > 0), np.bool_)
