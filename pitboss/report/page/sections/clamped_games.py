"""Exp5: whole games under a patch that stays, arm by arm and against each other."""

from typing import Any

import pandas as pd

from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import plain
from pitboss.report.page.numbers import interval, percent, shown
from pitboss.report.page.sections import comparisons

FEATURES = 40
"""Features shown, those with the smallest p first; with their controls."""
INDICES = {"rounds": "n", "betting": "with_bet", "extreme": "with_bet",
           "loss_chasing": "with_chance"}  # fmt: skip
"""What an arm's mean is of, and the column that says of how many games."""


def build(book: Book) -> Section | None:
    effects = book.frame("persistent_effects")
    if effects is None:
        return None
    contrasts = book.frame("persistent_contrasts")
    document = book.document("persistent_controls") or {}
    compared = comparisons.compared_games(effects, contrasts, document.get("fdr", 0.05))
    kept = comparisons.strongest(compared, FEATURES)
    base = effects[effects["role"] == "baseline"]
    arms = effects[effects["role"] != "baseline"].merge(kept, on=["layer", "feature"])
    arms = arms.sort_values(["place", "role", "arm"], ascending=[True, True, False])
    arms = pd.concat([base, arms.drop(columns="place")])
    here = compared.merge(kept, on=["layer", "feature"]).sort_values("place", kind="stable")
    every = effects.loc[effects["role"] == "feature", ["layer", "feature"]].drop_duplicates()
    context = {
        "rows": [_row(row) for row in arms.to_dict("records")],
        "families": comparisons.families(book.ledger, compared, document.get("fdr", 0.05)),
        "measures": list(comparisons.UNITS),
        "comparisons": comparisons.lines(here),
        "all": shown(len(every)),
        "cut": len(every) > FEATURES,
        "kept": shown(FEATURES),
    }
    data = {"persistent": [_dot(row) for row in arms.to_dict("records")],
            "held": comparisons.figure(here)}  # fmt: skip
    return Section("clamped_games", context, data)


def _dot(row: dict[str, Any]) -> dict[str, Any]:
    return {"f": _name(row), "arm": row["arm"], "role": row["role"], "v": plain(row["bankruptcy"]),
            "low": plain(row["low"]), "high": plain(row["high"]), "n": int(row["n"])}  # fmt: skip


def _name(row: dict[str, Any]) -> str:
    """The feature; the baseline has none."""
    return "" if pd.isna(row["layer"]) else f"L{int(row['layer'])}/F{int(row['feature'])}"


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": _name(row),
        "arm": row["arm"],
        "role": row["role"],
        "n": shown(int(row["n"])),
        "aborted": shown(int(row["aborted"])),
        "bankrupt": percent(row["bankruptcy"]),
        "between": interval(row["low"], row["high"]),
        "means": [
            {"mean": shown(plain(row[name], 3)), "between": "", "n": shown(int(row[of]))}
            for name, of in INDICES.items()
        ],
    }
