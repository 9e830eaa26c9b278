"""What made a feature "causal" in the original study, and the same with single corrections."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from pitboss.analysis.proportions import Floats, fisher_p, rate
from pitboss.analysis.stratified import Tables, exact_p
from pitboss.saes.false_discovery import benjamini_hochberg

SAFE, RISKY = "exp2/safe", "exp2/risky"
HIGH_BET = 15
"""The original's "bankruptcy" in the risky scene: a bet above half of a balance of $30. The scene's
own balance is $20."""
LEAST_RUNS, LEAST_CELL, LEAST_DIFFERENCE, ALPHA = 10, 5, 0.1, 0.05

Names = frozenset[tuple[int, int]]


class Unavailable(Exception):
    """A step's input is not among the runs; says what is missing."""


class Arms(NamedTuple):
    """Counts of one scene and two arms, arrays [features]: events and the runs they are of."""

    names: list[tuple[int, int]]
    hits_a: Floats
    n_a: Floats
    hits_b: Floats
    n_b: Floats

    @property
    def difference(self) -> Floats:
        return rate(self.hits_a, self.n_a) - rate(self.hits_b, self.n_b)


def chi2_p(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike) -> Floats:
    """p of the chi-square test with Yates' correction; NaN where a margin is empty."""
    a, na, b, nb = (np.asarray(x, np.float64) for x in (hits_a, n_a, hits_b, n_b))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = na * (a + b) / (na + nb)
        off = np.abs(a - expected)
        off = (off - np.minimum(off, 0.5)) ** 2
        statistic = off * (1 / expected + 1 / (na - expected) + 1 / (a + b - expected)
                           + 1 / (nb - (a + b - expected)))  # fmt: skip
    return np.asarray(stats.chi2.sf(statistic, 1), np.float64)


def signs(runs: pd.DataFrame) -> Names:
    """Features of the right signs: stops in the safe scene, bets above $15 in the risky one."""
    found: set[tuple[int, int]] = set()
    for value, side in (("safe", 1), ("risky", -1)):
        stops = arms_of(runs, SAFE, (value, "baseline"), "stop", "old_")
        bets = arms_of(runs, RISKY, (value, "baseline"), "high", "old_")
        raised = {n for n, d in zip(stops.names, side * stops.difference, strict=True) if d > 0}
        lowered = {n for n, d in zip(bets.names, side * bets.difference, strict=True) if d < 0}
        found |= raised & lowered
    return frozenset(found)


def against_baseline(
    runs: pd.DataFrame, prefix: str, test: Callable[[Arms], Floats], fdr: float | None
) -> Names:
    """Features that one of the original's two comparisons with the baseline calls causal.

    Args:
        prefix: `old_` for what the original's reader concluded, empty for the study's reader.
        test: Gives p [features]; NaN where it cannot be computed.
        fdr: Rate of the correction over all features and both comparisons; None for p < .05.
    """
    parts = (
        arms_of(runs, SAFE, ("safe", "baseline"), "stop", prefix),
        arms_of(runs, RISKY, ("risky", "baseline"), "high", prefix),
    )
    p = np.concatenate([test(part) for part in parts])
    judged = p < ALPHA if fdr is None else benjamini_hochberg(p) <= fdr
    large = np.concatenate([np.abs(part.difference) > LEAST_DIFFERENCE for part in parts])
    names = [name for part in parts for name in part.names]
    return frozenset(names[i] for i in np.flatnonzero(judged & large))


def gated_chi2(arms: Arms) -> Floats:
    """Chi-square p where every cell holds 5 and every arm 10 runs."""
    cells = np.stack([arms.hits_a, arms.n_a - arms.hits_a, arms.hits_b, arms.n_b - arms.hits_b])
    gate = (cells.min(axis=0) >= LEAST_CELL) & (np.minimum(arms.n_a, arms.n_b) >= LEAST_RUNS)
    return np.where(gate, chi2_p(*arms[1:]), np.nan)


def fisher(arms: Arms) -> Floats:
    """Fisher's p where every arm holds 10 runs and not all runs are alike."""
    alike = (arms.hits_a + arms.hits_b == 0) | (arms.hits_a + arms.hits_b == arms.n_a + arms.n_b)
    few = np.minimum(arms.n_a, arms.n_b) < LEAST_RUNS
    return np.where(alike | few, np.nan, fisher_p(*arms[1:]))


def primary(runs: pd.DataFrame, fdr: float) -> Names:
    """Features whose two values differ in stops, exactly within states, in some scene."""
    names: list[tuple[int, int]] = []
    ps: list[Floats] = []
    for scene, rows in runs.groupby("scene"):
        states = [
            arms_of(rows[rows["prompt"] == prompt], str(scene), ("safe", "risky"), "stop", "")
            for prompt in sorted(rows["prompt"].unique())
        ]
        tables = Tables(*(
            np.stack([np.asarray(state[i], np.int64) for state in states], axis=1)
            for i in range(1, 5)
        ))  # fmt: skip
        hits_a, n_a, hits_b, n_b = tables.pooled()
        alike = (hits_a + hits_b == 0) | (hits_a + hits_b == n_a + n_b)
        ps.append(np.where(alike | (np.minimum(n_a, n_b) < LEAST_CELL), np.nan, exact_p(tables)))
        names += states[0].names
    kept = benjamini_hochberg(np.concatenate(ps)) <= fdr
    return frozenset(names[i] for i in np.flatnonzero(kept))


def names_of(rows: pd.DataFrame) -> Names:
    """(layer, feature) of all rows."""
    pairs = rows[["layer", "feature"]].drop_duplicates().astype(np.int64)
    return frozenset((int(layer), int(feature)) for layer, feature in pairs.to_numpy())


def arms_of(runs: pd.DataFrame, scene: str, arms: tuple[str, str], event: str, prefix: str) -> Arms:
    """Counts of stops (of decided runs) or of bets above $15 (of runs whose stake is known)."""
    rows = runs[runs["scene"] == scene]
    if rows.empty:
        raise Unavailable(f"there are no runs of the scene {scene}")
    sides = []
    for arm in arms:
        mine = rows[rows["arm"] == arm]
        if mine.empty:
            raise Unavailable(f"there are no {arm} runs of the scene {scene}")
        stop = mine[f"{prefix}decision"] == "stop"
        bet, stake = mine[f"{prefix}decision"] == "bet", mine[f"{prefix}amount"]
        hit = stop if event == "stop" else bet & (stake > HIGH_BET)
        of = stop | bet if event == "stop" else stop | (bet & stake.notna())
        counts = mine.assign(hit=hit & of, of=of)
        if arm == "baseline":
            sides.append(counts[["hit", "of"]].sum())
        else:
            sides.append(counts.groupby(["layer", "feature"])[["hit", "of"]].sum().sort_index())
    first, second = sides
    names = [(int(layer), int(feature)) for layer, feature in first.index]
    if isinstance(second, pd.Series):
        second = pd.DataFrame({"hit": second["hit"], "of": second["of"]}, index=first.index)
    else:
        second = second.reindex(first.index)
    return Arms(
        names,
        *(side[x].to_numpy(np.float64) for side in (first, second) for x in ("hit", "of")),
    )
