"""Dose curves: how often the model stops as a feature is set to more than two values."""

import pandas as pd

from pitboss.analysis.proportions import wilson
from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import FEATURE, plain
from pitboss.report.page.numbers import shown
from pitboss.report.reader import where

COLUMNS = ["role", "phase", "scene", "arm", *FEATURE, "value", "decision"]
CURVES = 12


def build(book: Book) -> Section | None:
    findings = book.frame("findings")
    arms = book.frame("trials", ["role", "arm"])
    if findings is None or arms is None:
        return None
    if arms.loc[arms["role"] == "feature", "arm"].nunique() < 3:
        return None  # two values make no curve
    order = ["causal", "p", *FEATURE]
    first = findings.sort_values(order, ascending=[False, True, True, True]).head(CURVES)
    names = set(first[FEATURE].itertuples(index=False, name=None))
    chosen = where(role="feature", layer={x for x, _ in names})
    runs = book.reader.frame("trials", COLUMNS, chosen)
    assert runs is not None  # there are arms of features
    runs = runs[[pair in names for pair in zip(runs["layer"], runs["feature"], strict=True)]]
    return Section("dose", {"curves": shown(len(first))}, {"dose": curves(runs)})


def curves(runs: pd.DataFrame) -> list[dict[str, object]]:
    """One point a feature, scene and value: stops among the decided runs with their interval."""
    decided = runs[(runs["decision"] != "none") & (runs["phase"] == "discovery")]
    grouped = decided.assign(stop=decided["decision"] == "stop").groupby([*FEATURE, "scene", "arm"])
    table = grouped.agg(n=("stop", "size"), stops=("stop", "sum"), value=("value", "mean"))
    table["low"], table["high"] = wilson(table["stops"], table["n"])
    table = table.reset_index().sort_values([*FEATURE, "scene", "value"])
    return [
        {"f": f"L{row.layer:.0f}/F{row.feature:.0f}", "p": row.scene, "v": plain(row.value),
         "a": row.arm, "n": int(row.n), "r": plain(row.stops / row.n), "low": plain(row.low),
         "high": plain(row.high)}
        for row in table.itertuples()
    ]  # fmt: skip
