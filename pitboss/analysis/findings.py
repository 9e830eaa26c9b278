"""The headline: what became of every patched feature, and how often chance would have looked so."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pitboss.analysis.effects import FEATURE, PRIMARY, counted
from pitboss.analysis.proportions import clopper_pearson, wilson

RANDOM = ("random_feature", "random_direction")


def primary_stops(table: pd.DataFrame, role: str = "feature") -> pd.DataFrame:
    """Rows of the primary contrast on stopping, of features or of a control."""
    rows = (table["contrast"] == PRIMARY) & (table["outcome"] == "stop")
    return table[rows & (table["role"] == role)]


def clearest(table: pd.DataFrame) -> pd.DataFrame:
    """The row of each feature's clearest primary contrast on stopping, features ascending.

    One that was counted goes before one that was not, then the smaller p, then the larger size.
    """
    rows = primary_stops(table).assign(missed=~counted(table))
    rows = rows.assign(size=-rows["difference"].abs())
    order = [*FEATURE, "missed", "p", "size", "prompt"]
    rows = rows.sort_values(order, na_position="last").drop(columns=["missed", "size"])
    return rows.drop_duplicates(FEATURE).reset_index(drop=True)


def findings(
    table: pd.DataFrame,
    runs: Mapping[tuple[int, int], int],
    d: Mapping[tuple[int, int], float],
    shifts: Mapping[tuple[int, int], float],
    confirmed: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row a patched feature with the columns of the kind `findings`.

    Args:
        table: Effects of the discovery.
        runs: Patched runs of every feature.
        d: Cohen's d of the features that were selected by it.
        shifts: The screening's contrasts, where it came first.
        confirmed: Effects of the confirmation, or None if there is none; a feature that is not in
            them was not asked again.
    """
    rows = primary_stops(table).assign(hit=counted(table))
    each = rows.groupby(FEATURE, sort=True)
    best = clearest(table)
    names = [(int(at), int(i)) for at, i in best[FEATURE].itertuples(index=False, name=None)]
    again = {} if confirmed is None else _again(confirmed)
    shown = ["direction", "prompt", "difference", "ci_low", "ci_high", "p", "q", "e_value"]
    untested = best["status"] != "tested"
    best[shown] = best[shown].astype(object).mask(untested, None)
    return pd.DataFrame(
        {
            "model": best["model"],
            "layer": best["layer"],
            "feature": best["feature"],
            "causal": best["causal"].astype(bool),
            "confirmed": pd.Series([again.get(n) for n in names], dtype=object),
            **{name: best[name] for name in shown},
            "prompts_causal": each["hit"].sum().to_numpy(np.int32),
            "unreadable": each["unreadable_arm"].count().to_numpy() > 0,
            "runs": [runs[n] for n in names],
            "d": [d.get(n) for n in names],
            "screen_shift": [shifts.get(n) for n in names],
        }
    )


def _again(confirmed: pd.DataFrame) -> dict[tuple[int, int], bool]:
    hits = counted(confirmed)
    names = confirmed[FEATURE].itertuples(index=False, name=None)
    found: dict[tuple[int, int], bool] = {}
    for (layer, feature), hit in zip(names, hits, strict=True):
        name = int(layer), int(feature)
        found[name] = found.get(name, False) or bool(hit)
    return found


def false_positives(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """How many controls of each kind would have been counted as causal, by the features' cut-off.

    Returns:
        role -> tested (controls patched), hits, rate, low, high (Clopper and Pearson's 95 %
        interval), wilson_low, wilson_high. Roles of which there are none are left out.
    """
    hits = counted(table)
    found = {}
    for role in RANDOM:
        of_role = table["role"] == role
        names = table.loc[of_role, FEATURE].drop_duplicates()
        if names.empty:
            continue
        found[role] = _share(len(table.loc[of_role & hits, FEATURE].drop_duplicates()), len(names))
    return found


def expected_false(table: pd.DataFrame) -> tuple[float, float] | None:
    """Features that would be counted if all patched ones were like the controls, and at most.

    Returns:
        The controls' pooled rate times the number of patched features, and the same with the upper
        end of its interval; never more than were counted. None without controls.
    """
    shares = false_positives(table).values()
    if not shares:
        return None
    pooled = _share(sum(s["hits"] for s in shares), sum(s["tested"] for s in shares))
    features = table[table["role"] == "feature"]
    patched = len(features[FEATURE].drop_duplicates())
    causal = len(features.loc[features["causal"], FEATURE].drop_duplicates())
    return min(pooled["rate"] * patched, causal), min(pooled["high"] * patched, causal)


def _share(hits: int, tested: int) -> dict[str, Any]:
    exact, score = clopper_pearson([hits], [tested]), wilson([hits], [tested])
    return {
        "tested": tested,
        "hits": hits,
        "rate": hits / tested,
        "low": float(exact.low[0]),
        "high": float(exact.high[0]),
        "wilson_low": float(score.low[0]),
        "wilson_high": float(score.high[0]),
    }


def stop_rates(trials: pd.DataFrame, by: list[str]) -> list[dict[str, Any]]:
    """Stop rates of runs by some columns: n (decided), stops, rate, low, high (Wilson, 95 %)."""
    decided = trials[trials["decision"] != "none"]
    counts = decided.groupby(by)["decision"].agg(n="size", stops=lambda x: int((x == "stop").sum()))
    ends = wilson(counts["stops"], counts["n"])
    rows = counts.reset_index().assign(rate=counts["stops"].to_numpy() / counts["n"].to_numpy())
    rows["low"], rows["high"] = ends.low, ends.high
    listed: list[dict[str, Any]] = rows.to_dict("records")
    return [{str(k): _plain(v) for k, v in row.items()} for row in listed]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
