"""Pairs of runs, and what would be left of an effect if all undecided runs had gone against it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from pitboss.analysis.outcomes import Scene
from pitboss.analysis.pairs import count_pairs
from pitboss.analysis.proportions import Floats, rate
from pitboss.analysis.stratified import Tables, exact_p


def worst_p(
    tables: Tables, none_a: NDArray[np.int64], none_b: NDArray[np.int64], difference: Floats
) -> Floats:
    """p with every undecided run counted against the observed difference."""
    up = (difference > 0)[:, None]
    against = Tables.of(
        tables.hits_a + np.where(up, 0, none_a),
        tables.n_a + none_a,
        tables.hits_b + np.where(up, none_b, 0),
        tables.n_b + none_b,
    )
    hits_a, n_a, hits_b, n_b = against.pooled()
    left = rate(hits_a, n_a) - rate(hits_b, n_b)
    gone = np.where(up[:, 0], left <= 0, left >= 0)
    return np.where(gone, 1.0, exact_p(against))


def paired(scene: Scene, arm_a: str, arm_b: str) -> pd.DataFrame:
    """Pairs of equal noise of every name, in the order of `scene.names`."""
    runs = scene.runs.rename(columns={"state": "prompt"})
    if arm_b == "baseline":
        everyone = pd.DataFrame({"name": np.arange(len(scene.names))})
        shared = runs[runs["arm"] == arm_b].drop(columns="name").merge(everyone, how="cross")
        runs = pd.concat([runs[runs["arm"] != arm_b], shared])
    return count_pairs(runs, ["name"], (arm_a, arm_b)).sort_values("name").reset_index(drop=True)


def mcnemar_p(up: NDArray[np.int64], down: NDArray[np.int64]) -> Floats:
    """Two-sided exact p that pairs differ in one direction as often as in the other."""
    both = stats.binom.cdf(np.minimum(up, down), up + down, 0.5)
    return np.asarray(np.minimum(2 * both, 1.0), np.float64)


def worst_paired_p(pairs: pd.DataFrame) -> Floats:
    """The same with every pair of an undecided run counted against the pairs' own direction."""
    up, down = pairs["up"].to_numpy(), pairs["down"].to_numpy()
    least = np.minimum(up, down) + np.where(
        up >= down, pairs["open_down"].to_numpy(), pairs["open_up"].to_numpy()
    )
    lead = np.maximum(up, down)
    return np.where(least >= lead, 1.0, mcnemar_p(lead, np.minimum(least, lead)))
