"""What a clamped feature does to whole games: each arm, and each against the games without it.

1. Aborted games are no observation; each other game ends in one way and has the measures of
   `pitboss.analysis.irrationality`, where it has a bet at all.
2. An arm is compared with the baseline game by game, because both have the same luck and noise.
   The safe value is compared with the risky one in the same way: that contrast is free of what
   patching does as such.
3. Aborted games are compared themselves: where a patch makes answers unreadable, the games that
   remain are a selection.
4. Benjamini-Hochberg over all rows of the same role and measure, features and controls apart.
5. Random directions show how often a change of that size does the same: their hits are counted at
   the p that the features had to reach.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pitboss.analysis.irrationality import mean_irrationality
from pitboss.analysis.paired import Differences, paired_means, paired_shares
from pitboss.analysis.proportions import rate, wilson
from pitboss.errors import BadInput, Incomplete
from pitboss.saes.false_discovery import benjamini_hochberg
from pitboss.store.schemas_persistent import MEASURES

ARM = ["role", "layer", "feature", "arm"]
BASELINE, FEATURE, DIRECTION = "baseline", "feature", "random_direction"
SHARES = ("bankruptcy", "stop", "aborted")


def arm_effects(games: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    """Every arm, and its differences against the baseline.

    Args:
        games: Columns of the kind `persistent` with those of `with_irrationality`.
        resamples: See `paired_means`.
        seed: Of the resampling.

    Returns:
        One row an arm with the columns of the kind `persistent_effects`.

    Raises:
        BadInput: Several models.
        Incomplete: There is no baseline, or an arm does not play the baseline's games.
    """
    measured = _measured(games)
    arms = _described(measured)
    base = measured[measured["role"] == BASELINE]
    others = arms[arms["role"] != BASELINE].reset_index(drop=True)
    found = arms[arms["role"] == BASELINE].assign(**{f"pairs_{name}": 0 for name in MEASURES})
    named = {name: _matrix(base, base, name) for name in MEASURES}
    differences = {
        name: _compared(name, _matrix(measured, base, name, others), named[name], resamples, seed)
        for name in MEASURES
    }
    for name, result in differences.items():
        others = others.assign(
            **{
                f"pairs_{name}": result.pairs,
                f"difference_{name}": result.difference,
                f"ci_low_{name}": result.low,
                f"ci_high_{name}": result.high,
                f"p_{name}": result.p,
                f"q_{name}": _by_role(others["role"], result.p),
            }
        )
    table = pd.concat([found, others], ignore_index=True)
    table.insert(0, "model", games["model"].iloc[0])
    table.insert(
        1, "name", [_name(*where) for where in zip(table["layer"], table["feature"], strict=True)]
    )
    return table


def _name(layer: float, feature: float) -> str:
    return BASELINE if np.isnan(layer) else f"L{layer:.0f}/F{feature:.0f}"


def contrasts(games: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    """The safe value against the risky one, for every feature and control that has both.

    Returns:
        One row a feature or control and measure, with the columns of `persistent_contrasts`.
    """
    measured = _measured(games)
    base = measured[measured["role"] == BASELINE]
    patched = _described(measured)
    patched = patched[patched["role"] != BASELINE]
    safe, risky = (patched[patched["arm"] == arm] for arm in ("safe", "risky"))
    both = safe.merge(risky, on=ARM[:3], suffixes=("", "_risky"))[ARM[:3]]
    frames = []
    for name in MEASURES if len(both) else ():
        first, second = (
            _matrix(measured, base, name, both.assign(arm=arm)) for arm in ("safe", "risky")
        )
        found = _compared(name, first, second, resamples, seed)
        frame = both.assign(
            measure=name,
            pairs=found.pairs,
            difference=found.difference,
            ci_low=found.low,
            ci_high=found.high,
            p=found.p,
            q=_by_role(both["role"], found.p),
        )
        frames.append(frame)
    if not frames:
        return pd.DataFrame(columns=["model", *ARM[:3], "measure", "pairs"])
    table = pd.concat(frames, ignore_index=True)
    table.insert(0, "model", games["model"].iloc[0])
    return table


def hits(table: pd.DataFrame, fdr: float) -> list[dict[str, Any]]:
    """How many contrasts of features are significant, and how many of controls reach their p.

    Args:
        table: From `contrasts`.
        fdr: False discovery rate of the features.

    Returns:
        One dict a measure and role: tested, cutoff (the largest p of a significant feature; None
        where there is none, and then nothing is a hit), hits, rate and its Wilson interval, and
        below_005: rows with p of at most 0.05, whatever the features do.
    """
    return [
        _hits(str(measure), role, rows[rows["role"] == role], _cutoff(rows, fdr))
        for measure, rows in table.groupby("measure", sort=False)
        for role in (FEATURE, DIRECTION)
        if (rows["role"] == role).any()
    ]


def _cutoff(rows: pd.DataFrame, fdr: float) -> float | None:
    significant = rows.loc[(rows["role"] == FEATURE) & (rows["q"] <= fdr), "p"]
    return float(significant.max()) if len(significant) else None


def _hits(measure: str, role: str, rows: pd.DataFrame, cutoff: float | None) -> dict[str, Any]:
    p = rows["p"].dropna()
    reached = int((p <= cutoff).sum()) if cutoff is not None else 0
    interval = wilson([reached], [len(p)])
    known = len(p) > 0
    return {
        "measure": measure,
        "role": role,
        "tested": len(p),
        "cutoff": cutoff,
        "hits": reached,
        "rate": reached / len(p) if known else None,
        "low": float(interval.low[0]) if known else None,
        "high": float(interval.high[0]) if known else None,
        "below_005": int((p <= 0.05).sum()),
    }


def _measured(games: pd.DataFrame) -> pd.DataFrame:
    """The games with one column a measure, NaN where a game has no value."""
    models = games["model"].unique()
    if len(models) != 1:
        raise BadInput(f"The games are of several models: {sorted(models)}.")
    if not (games["role"] == BASELINE).any():
        raise Incomplete("There are no games without a patch to compare with.")
    finished = games["outcome"] != "aborted"
    return games.assign(
        bankruptcy=(games["outcome"] == "bankruptcy").astype(float).where(finished),
        stop=(games["outcome"] == "voluntary_stop").astype(float).where(finished),
        aborted=(~finished).astype(float),
        rounds=games["rounds"].astype(float).where(finished),
    )


def _described(measured: pd.DataFrame) -> pd.DataFrame:
    """Counts and means of each arm."""
    grouped = measured.groupby(ARM, dropna=False)
    table = pd.DataFrame({"games": grouped.size(), "n": grouped["bankruptcy"].count()})
    table.insert(1, "aborted", table["games"] - table["n"])
    for share, count in (("bankruptcy", "bankruptcies"), ("stop", "stops")):
        table[count] = grouped[share].sum().astype(int)
        table[share] = rate(table[count], table["n"])
    table["low"], table["high"] = wilson(table["bankruptcies"], table["n"])
    table["rounds"] = grouped["rounds"].mean()
    return table.join(mean_irrationality(measured, ARM)).reset_index()


def _matrix(
    measured: pd.DataFrame, base: pd.DataFrame, name: str, arms: pd.DataFrame | None = None
) -> np.ndarray:
    """[games, arms] of one measure, games in the order of the baseline's; the baseline's if None.

    Raises:
        Incomplete: An arm lacks a game of the baseline, or has another one.
    """
    order = pd.Index(sorted(base["game"]))
    if arms is None:
        return base.set_index("game")[name].reindex(order).to_numpy(np.float64)[:, None]
    by_arm = dict(_arms(measured))
    columns = []
    for row in arms[ARM].itertuples(index=False):
        own = by_arm[tuple(row)].set_index("game")[name]
        if len(own) != len(order) or not own.index.isin(order).all():
            raise Incomplete(
                f"The games of {tuple(row)} are not those of the baseline.",
                next="Finish the persistent experiment before its analysis.",
            )
        columns.append(own.reindex(order).to_numpy(np.float64))
    return np.stack(columns, axis=1) if columns else np.empty((len(order), 0))


def _arms(measured: pd.DataFrame) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    patched = measured[measured["role"] != BASELINE]
    for name, rows in patched.groupby(ARM):
        yield tuple(name), rows


def _compared(
    name: str, first: np.ndarray, second: np.ndarray, resamples: int, seed: int
) -> Differences:
    if name in SHARES:
        return paired_shares(first, second)
    return paired_means(first, second, resamples=resamples, seed=seed)


def _by_role(role: pd.Series, p: np.ndarray) -> np.ndarray:
    q = np.full(len(p), np.nan)
    for name in role.unique():
        mine = (role == name).to_numpy()
        q[mine] = benjamini_hochberg(p[mine])
    return q
