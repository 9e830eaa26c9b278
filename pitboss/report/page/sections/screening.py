"""All screened features, aggregated: quantiles by layer, a density, and the few that lead."""

from typing import Any

import numpy as np
import pandas as pd

from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import plain
from pitboss.report.page.numbers import shown

TOP = 40
BINS = 48
QUANTILES = (1, 25, 50, 75, 99)


def build(book: Book) -> Section | None:
    ranking = book.frame("ranking")
    if ranking is None:
        return None
    by = "contrast" if ranking["contrast"].notna().any() else "shift"
    moved = ranking[~ranking["unchanged"] & ranking[by].notna()]
    context = {
        "screened": book.ledger.put("screened", len(ranking), "ranking.parquet"),
        "moved": book.ledger.put("screened.moved", int((~ranking["unchanged"]).sum()),
                                 "ranking.parquet", "not unchanged"),
        "by": by,
        "top": [_row(row, by) for row in ranking.head(TOP).itertuples()],
        "kept": shown(TOP),
    }  # fmt: skip
    data = {"layers": _layers(moved, by), "density": _density(moved[by])}
    return Section("screening", context, {"screening": data})


def _row(row: Any, by: str) -> dict[str, Any]:
    return {
        "rank": int(row.rank),
        "layer": int(row.layer),
        "feature": int(row.feature),
        "size": f"{getattr(row, by):+.3f}",
        "where": row.contrast_prompt if by == "contrast" else row.prompt,
        "shift": f"{row.shift:+.3f}",
        "prompt": row.prompt,
        "value": row.value_name,
    }


def _layers(moved: pd.DataFrame, by: str) -> list[dict[str, Any]]:
    made = []
    for layer, values in moved.groupby("layer")[by]:
        ends = np.percentile(values, QUANTILES)
        extremes = {"low": plain(float(values.min())), "high": plain(float(values.max()))}
        quantiles = [plain(float(end)) for end in ends]
        made.append({"l": int(layer), "n": len(values), "q": quantiles, **extremes})
    return made


def _density(values: pd.Series) -> list[dict[str, Any]]:
    """How many features lie in bins of equal width of log10 |value|."""
    size = np.log10(values.abs()[values != 0].to_numpy())
    if not len(size):
        return []
    counts, edges = np.histogram(size, BINS)
    return [{"a": plain(float(a)), "b": plain(float(b)), "n": int(n)}
            for a, b, n in zip(edges, edges[1:], counts, strict=False)]  # fmt: skip
