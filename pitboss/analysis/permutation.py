"""How many features would the same rule call causal if the two values were mere labels?

Within each pair of runs with one noise the labels "safe" and "risky" are swapped or left by the
toss of a fair coin. One coin per state and trial serves all features at once, so whatever ties
features together (they share their noise, and many share their effect) ties them in the permuted
study as well. States are never mixed. Where the value has no effect, the permuted study is as
likely as the real one (Pesarin and Salmaso 2010, Permutation Tests for Complex Data, ch. 1-4).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pitboss.analysis.exact_power import Test
from pitboss.analysis.outcomes import Scene, scenes
from pitboss.analysis.proportions import Floats
from pitboss.analysis.stratified import Tables, exact_p
from pitboss.analysis.undecided import mcnemar_p
from pitboss.errors import BadInput, Incomplete
from pitboss.saes.false_discovery import benjamini_hochberg

Matrix = NDArray[np.float64]


class PermutationNull(NamedTuple):
    """Features called causal in permuted studies.

    Attributes:
        counts: [permutations] how many.
        observed: How many in the study itself, by the same computation.
    """

    counts: NDArray[np.int64]
    observed: int

    @property
    def permutations(self) -> int:
        return len(self.counts)

    @property
    def median(self) -> float:
        return float(np.median(self.counts))

    @property
    def q95(self) -> float:
        """Smallest number that at least 95 % of the permuted studies do not exceed."""
        return float(np.quantile(self.counts, 0.95, method="inverted_cdf"))

    @property
    def p(self) -> float:
        """Chance of a count as large as the observed one without any effect."""
        return float((1 + (self.counts >= self.observed).sum()) / (1 + len(self.counts)))

    def as_dict(self) -> dict[str, float]:
        """Plain data for a JSON file."""
        return {
            "permutations": self.permutations,
            "median": self.median,
            "q95": self.q95,
            "observed": self.observed,
            "p": self.p,
        }


class _Halves(NamedTuple):
    """One scene's pairs: 0 or 1 for each [state][features, trials] of stops and of decided runs."""

    names: NDArray[np.int64]  # of all features; the matrices hold those of `moving` only
    moving: NDArray[np.bool_]  # features with a pair that is not the same in both arms
    still: Floats  # p of the others: 1, or NaN if not testable
    stop_a: list[Matrix]
    stop_b: list[Matrix]
    decided_a: list[Matrix]
    decided_b: list[Matrix]


def permutation_null(
    trials: pd.DataFrame,
    *,
    fdr: float = 0.05,
    cutoff: float | None = None,
    permutations: int = 200,
    seed: int = 0,
    min_runs: int = 5,
    test: Test = "fisher",
    arms: tuple[str, str] = ("safe", "risky"),
) -> PermutationNull:
    """Count causal features with the labels of the arms permuted.

    Args:
        trials: As `effects` takes them; only patched features (role feature) are used.
        fdr: False discovery rate; the correction is done anew in every permuted study, over the
            stop tests of all features and scenes.
        cutoff: Threshold of p in place of the correction, such as the one at which the study's own
            correction ended. It answers how many of the features found there chance would give.
        permutations: Permuted studies.
        seed: Of the coins.
        min_runs: Decided runs that both arms must have.
        test: Fisher's test within states, or McNemar's of the pairs.
        arms: The two arms.

    Raises:
        BadInput: No patched feature, a number of permutations below 1, or features with different
            numbers of trials: when they stopped depends on the labels that would be permuted.
        Incomplete: A run has no partner with its noise.
    """
    if permutations < 1:
        raise BadInput("A null distribution needs at least one permutation.", where="permutations")
    prepared = scenes(trials[trials["role"] == "feature"], arms)
    names = pd.concat([scene.names for scene in prepared]).drop_duplicates()
    place = pd.Series(np.arange(len(names)), index=pd.MultiIndex.from_frame(names))
    halves = [_halves(scene, arms, place, min_runs) for scene in prepared]
    random = np.random.default_rng(seed)
    counts = []
    for permutation in range(permutations + 1):
        ps = []
        for half in halves:
            coins = [
                np.asarray(random.random(stop.shape[1]) < (0.5 if permutation else 0.0))
                for stop in half.stop_a
            ]
            ps.append(_p(half, coins, test, min_runs))
        p, who = np.concatenate(ps), np.concatenate([half.names for half in halves])
        # A NaN p (not testable) is outside the family and never significant.
        called = benjamini_hochberg(p) <= fdr if cutoff is None else p <= cutoff
        counts.append(len(np.unique(who[called])))
    return PermutationNull(np.array(counts[1:], np.int64), counts[0])


def _halves(scene: Scene, arms: tuple[str, str], place: pd.Series, min_runs: int) -> _Halves:
    filled: dict[str, list[Matrix]] = {}
    noises: dict[str, list[list[int]]] = {"a": [], "b": []}
    for side, arm in zip("ab", arms, strict=True):
        mine = scene.runs[scene.runs["arm"] == arm]
        filled[f"stop_{side}"], filled[f"decided_{side}"] = [], []
        for state in range(len(scene.states)):
            rows = mine[mine["state"] == state]
            stops = rows.assign(at=(rows["decision"] == "stop").astype(float))
            decided = rows.assign(at=(rows["decision"] != "none").astype(float))
            for name, values in (("stop", stops), ("decided", decided)):
                wide = values.pivot(index="name", columns="trial", values="at")
                filled[f"{name}_{side}"].append(wide.to_numpy())
            noises[side].append(list(wide.columns))
    gaps = [[np.isnan(stops) for stops in filled[side]] for side in ("stop_a", "stop_b")]
    same = noises["a"] == noises["b"]
    if same and any(a.any() and np.array_equal(a, b) for a, b in zip(*gaps, strict=True)):
        raise BadInput(
            f"Features of scene {scene.name!r} have different numbers of trials.",
            next="Use the e-values of the sequential design, which need no permutation.",
        )
    if any(gap.any() for side in gaps for gap in side) or not same:
        raise Incomplete(
            f"Runs of scene {scene.name!r} have no partner with the same noise.",
            next="Finish the patching before its analysis.",
        )
    names = place.reindex(pd.MultiIndex.from_frame(scene.names)).to_numpy()
    moving = np.zeros(len(names), bool)
    for what in ("stop", "decided"):
        for a, b in zip(filled[f"{what}_a"], filled[f"{what}_b"], strict=True):
            moving |= (a != b).any(axis=1)
    of, stops = (sum(x.sum(axis=1) for x in filled[f"{w}_a"]) for w in ("decided", "stop"))
    idle = (stops == 0) | (stops == of) | (of < min_runs)
    still = np.where(idle, np.nan, 1.0)[~moving]
    kept = {side: [x[moving] for x in matrices] for side, matrices in filled.items()}
    return _Halves(names, moving, still, **kept)


def _p(half: _Halves, coins: list[NDArray[np.bool_]], test: Test, min_runs: int) -> Floats:
    """p [features] with the labels swapped in the pairs whose coin says so."""
    swapped = [[], [], [], []]  # type: list[list[NDArray[np.int64]]]
    up = down = np.zeros(int(half.moving.sum()), np.int64)
    for stop_a, stop_b, n_a, n_b, coin in zip(*half[3:], coins, strict=True):
        sides = (stop_a, n_a, stop_b, n_b), (stop_b, n_b, stop_a, n_a)
        for out, kept, other in zip(swapped, *sides, strict=True):
            out.append(np.rint(kept @ ~coin + other @ coin).astype(np.int64))
        turned = np.where(coin, -1.0, 1.0) * (stop_a - stop_b) * n_a * n_b
        up, down = up + (turned > 0).sum(axis=1), down + (turned < 0).sum(axis=1)
    every = np.empty(len(half.names))
    every[~half.moving] = half.still
    if not half.moving.any():
        return every
    tables = Tables(*(np.stack(x, axis=1) for x in swapped))
    hits_a, of_a, hits_b, of_b = tables.pooled()
    stops, runs = hits_a + hits_b, of_a + of_b
    p = mcnemar_p(up, down) if test == "paired" else exact_p(tables)
    idle = (stops == 0) | (stops == runs) | (np.minimum(of_a, of_b) < min_runs)
    every[half.moving] = np.where(idle, np.nan, p)
    return every
