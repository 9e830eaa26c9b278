"""Which effects the planned trials can find, said before the first run.

The threshold that Benjamini-Hochberg ends at depends on how many effects there are. If a share s of
the tests has an effect, each found with power w, and the others reach p <= t with a chance of t, it
settles where t = fdr (s w + (1 - s) t), that is t = fdr s w / (1 - fdr (1 - s)). For e-BH the same
consideration gives e >= 1 / (fdr s w). Both are what is to be expected; with fewer effects than
assumed the threshold is stricter, at the strictest fdr / tests.
"""

from collections.abc import Callable
from typing import NamedTuple

from pitboss.analysis.exact_power import Test, power
from pitboss.analysis.sequential import Rule
from pitboss.analysis.simulation import sequential_power
from pitboss.errors import BadInput

_STEP = 0.005
_MOST_TRIALS = 640


class Detectable(NamedTuple):
    """Smallest difference from a baseline stop rate that is found often enough, None if none is.

    Attributes:
        baseline: Stop rate of the second arm.
        up, down: Smallest raise and smallest fall of the first arm's stop rate, each positive.
    """

    baseline: float
    up: float | None
    down: float | None


def threshold(tests: int, share: float, fdr: float, wanted_power: float) -> float:
    """p at which Benjamini-Hochberg is expected to end, at least fdr / tests.

    Args:
        tests: Size of the family.
        share: Assumed share of tests with an effect.
        fdr: False discovery rate.
        wanted_power: Power against each of these effects.
    """
    if tests < 1 or not 0 <= share <= 1 or not 0 < fdr < 1 or not 0 < wanted_power < 1:
        raise BadInput(
            f"No threshold for {tests} tests, share {share}, fdr {fdr}, power {wanted_power}.",
            next="At least one test; the other three are shares between 0 and 1.",
        )
    expected = fdr * share * wanted_power / (1 - fdr * (1 - share))
    return max(expected, fdr / tests)


def detectable(
    baseline: float,
    n: int,
    alpha: float,
    *,
    wanted_power: float = 0.8,
    test: Test = "fisher",
    coupling: float = 0.0,
) -> Detectable:
    """Smallest effects that n runs in each arm find with the wanted power at threshold alpha."""

    def found(effect: float) -> bool:
        reached = power(baseline + effect, baseline, n, alpha, test=test, coupling=coupling)
        return reached >= wanted_power

    up = _smallest(found, 1 - baseline)
    down = _smallest(lambda effect: found(-effect), baseline)
    return Detectable(baseline, up, down)


def trials_needed(
    baseline: float,
    effect: float,
    alpha: float,
    *,
    wanted_power: float = 0.8,
    test: Test = "fisher",
    coupling: float = 0.0,
) -> int | None:
    """Fewest runs in each arm that find an effect with the wanted power; None above 640.

    Exact tests have power that falls now and then with one run more; the number is one from which
    on the next two suffice as well.

    Args:
        baseline: Stop rate of the second arm.
        effect: Difference of the first arm's from it, of either sign.
        alpha: Threshold of p.
    """
    if not 0 <= baseline + effect <= 1 or effect == 0:
        return None

    def enough(n: int) -> bool:
        at = (power(baseline + effect, baseline, m, alpha, test=test, coupling=coupling)
              for m in (n, n + 1, n + 2))  # fmt: skip
        return all(reached >= wanted_power for reached in at)

    low, high = 0, 10
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_TRIALS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def detectable_sequentially(
    baseline: float,
    rule: Rule,
    *,
    states: int = 1,
    share: float,
    wanted_power: float = 0.8,
    coupling: float = 0.0,
    seed: int = 0,
) -> Detectable:
    """Smallest effects that the sequential rule finds, by simulation of 1,000 features each."""

    def found(effect: float) -> bool:
        bound = e_threshold(rule, share, wanted_power)
        reached = sequential_power(
            baseline + effect, baseline, rule, bound=bound, states=states, coupling=coupling,
            seed=seed,
        )  # fmt: skip
        return reached.power >= wanted_power

    up = _smallest(found, 1 - baseline, step=0.02)
    down = _smallest(lambda effect: found(-effect), baseline, step=0.02)
    return Detectable(baseline, up, down)


def e_threshold(rule: Rule, share: float, wanted_power: float) -> float:
    """e at which e-BH is expected to end, at most tests / fdr."""
    expected = rule.fdr * share * wanted_power
    return rule.effect_bound if expected == 0 else min(1 / expected, rule.effect_bound)


def _smallest(found: Callable[[float], bool], largest: float, step: float = _STEP) -> float | None:
    """Smallest effect on a grid that is found, up to `largest`; found is taken to be monotone."""
    steps = round(largest / step)
    if steps < 1 or not found(largest):
        return None
    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle * step) else (middle, high)
    return round(min(high * step, largest), 4)
