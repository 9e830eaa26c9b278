"""Stakes of two arms compared: a rank test within states, and an interval of the means.

A stake is a bet's share of what the player owns. Only bets have one, so arms that bet unequally
often are compared on different selections of their runs: an effect here is one on those who bet.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pitboss.analysis.outcomes import Scene
from pitboss.analysis.proportions import Floats
from pitboss.analysis.stratified import cluster_interval


def compare_stakes(scene: Scene, arm_a: str, arm_b: str) -> pd.DataFrame:
    """Stakes of one arm against another's, for every patched feature and control of a scene.

    Returns:
        One row a name, in the order of `scene.names`: n_a, n_b, value_a, value_b (mean stakes, NaN
        without a bet), ci_low, ci_high (of their difference), p (two-sided; NaN where all stakes
        are equal). With one state p is that of the Mann-Whitney test with midranks and continuity
        correction, with several that of van Elteren's test, its sum over states; the interval is
        Welch's, with several states never inside the t interval over the states' differences.
    """
    names, states = len(scene.names), len(scene.states)
    a = _of_arm(scene, arm_a, names)
    b = _of_arm(scene, arm_b, names)
    both = pd.concat([a.assign(first=True), b.assign(first=False)], ignore_index=True)
    cell = both["name"].to_numpy() * states + both["state"].to_numpy()
    shape, size = (names, states), names * states
    first, stake = both["first"].to_numpy(), both["stake"].to_numpy()

    def add(weights: Floats, where: NDArray[np.bool_]) -> Floats:
        return np.bincount(cell[where], weights[where], size).reshape(shape).astype(np.float64)

    ones, every = np.ones(len(both)), np.ones(len(both), bool)
    n_a, n_b = add(ones, first), add(ones, ~first)
    sum_a, sum_b = add(stake, first), add(stake, ~first)
    ranks = pd.Series(stake).groupby(cell).rank().to_numpy()
    p = _rank_p(n_a, n_b, add(ranks, first), add(ranks**2, every))
    squares_a, squares_b = add(stake**2, first), add(stake**2, ~first)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_a = sum_a.sum(1) / n_a.sum(1)
        mean_b = sum_b.sum(1) / n_b.sum(1)
        low, high = _welch(
            mean_a - mean_b,
            *_squared_error(n_a.sum(1), mean_a, squares_a.sum(1)),
            *_squared_error(n_b.sum(1), mean_b, squares_b.sum(1)),
        )
        of_state = sum_a / n_a - sum_b / n_b
    if states > 1:
        clustered = cluster_interval(of_state)
        low, high = np.fmin(low, clustered.low), np.fmax(high, clustered.high)
    return pd.DataFrame(
        {
            "n_a": n_a.sum(1).astype(np.int64),
            "n_b": n_b.sum(1).astype(np.int64),
            "value_a": mean_a,
            "value_b": mean_b,
            "ci_low": low,
            "ci_high": high,
            "p": p,
        }
    )


def _of_arm(scene: Scene, arm: str, names: int) -> pd.DataFrame:
    mine = scene.stakes.loc[scene.stakes["arm"] == arm, ["name", "state", "stake"]]
    if arm != "baseline":
        return mine
    everyone = pd.DataFrame({"name": np.arange(names)})
    return mine.drop(columns="name").merge(everyone, how="cross")


def _rank_p(n_a: Floats, n_b: Floats, rank_sum: Floats, squares: Floats) -> Floats:
    """p [names] from the ranks within states, arrays [names, states]."""
    n = n_a + n_b
    usable = (n_a > 0) & (n_b > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = rank_sum - n_a * (n + 1) / 2
        variance = n_a * n_b / (n * (n - 1)) * (squares - n * (n + 1) ** 2 / 4)
        weight = 1 / (n + 1)
        total = np.where(usable, weight * excess, 0).sum(1)
        spread = np.sqrt(np.where(usable, weight**2 * variance, 0).sum(1))
        continuity = 0.5 * weight[:, 0] if n.shape[1] == 1 else 0.0
        z = np.maximum(np.abs(total) - continuity, 0) / spread
    return np.where(spread > 1e-12, np.minimum(2 * stats.norm.sf(z), 1.0), np.nan)


def _squared_error(n: Floats, mean: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """Squared standard error of a mean, and its degrees of freedom."""
    return np.maximum(squares - n * mean**2, 0) / (n - 1) / n, n - 1


def _welch(
    difference: Floats, error_a: Floats, df_a: Floats, error_b: Floats, df_b: Floats
) -> tuple[Floats, Floats]:
    total = error_a + error_b
    df = total**2 / (error_a**2 / df_a + error_b**2 / df_b)
    half = np.where(total > 0, stats.t.ppf(0.975, df) * np.sqrt(total), 0.0)
    return difference - half, difference + half
