"""Exp5: whole games under a patch, arm by arm."""

from typing import Any

import pandas as pd

from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import plain
from pitboss.report.page.numbers import interval, percent, shown

ROWS = 60


def build(book: Book) -> Section | None:
    effects = book.tables.frame("persistent_effects")
    if effects is None:
        return None
    base = effects[effects["role"] == "baseline"]
    rest = effects[effects["role"] != "baseline"]
    key = "difference_bankruptcy"
    if key in rest.columns:
        order = rest[key].abs().sort_values(ascending=False, kind="stable").index
        rest = rest.loc[order]
    shown_rows = pd.concat([base, rest.head(ROWS)])
    data = [
        {"arm": _name(row), "role": row.role, "v": plain(row.bankruptcy), "low": plain(row.low),
         "high": plain(row.high), "n": int(row.n)}
        for row in shown_rows.itertuples()
    ]  # fmt: skip
    context = {"rows": [_row(row) for row in shown_rows.itertuples()],
               "all": shown(len(effects)), "cut": len(rest) > ROWS}  # fmt: skip
    return Section("persistent", context, {"persistent": data})


def _name(row: Any) -> str:
    """Feature and arm; the baseline has no feature."""
    if pd.isna(row.layer):
        return str(row.arm)
    feature = "" if pd.isna(row.feature) else f"/F{int(row.feature)}"
    return f"L{int(row.layer)}{feature} {row.arm}"


def _row(row: Any) -> dict[str, Any]:
    found = row._asdict()
    return {
        "name": _name(row),
        "role": row.role,
        "n": shown(int(row.n)),
        "bankrupt": percent(row.bankruptcy),
        "between": interval(row.low, row.high),
        "q": shown(plain(found.get("q_bankruptcy", found.get("q")))),
        "rounds": shown(plain(row.rounds, 3)),
        "betting": shown(plain(row.betting, 3)),
        "chasing": shown(plain(row.loss_chasing, 3)),
        "extreme": shown(plain(row.extreme, 3)),
    }
