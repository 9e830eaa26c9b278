"""From layer to layer: where a decision can be read, and whether what is read does anything."""

from typing import Any

import pandas as pd

from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import column, columns
from pitboss.report.page.numbers import shown

ATTRIBUTED = 2000


def build(book: Book) -> Section | None:
    data: dict[str, Any] = {}
    context: dict[str, Any] = {}
    if (curve := book.frame("pathway_curve")) is not None:
        data["curve"] = _curve(curve)
        last = curve[curve["before_end"] == 0].groupby("outcome")["decisions"].max()
        context["games"] = {str(name): shown(int(count)) for name, count in last.items()}
    if (decodable := book.frame("decodability")) is not None:
        keep = ["layer", "grouping", "inputs", "auc", "low", "high"]
        data["decodability"] = columns(decodable.dropna(subset=["auc"])[keep])
        first = decodable.iloc[0]
        context["decodable"] = {n: shown(int(first[n])) for n in ("n_stop", "n_bet", "folds")}
    if (lens := book.frame("lens")) is not None:
        data["lens"] = columns(lens[["layer", "decision", "n", "margin", "margin_low",
                                     "margin_high"]])  # fmt: skip
        context["lens"] = True
    if (attribution := book.frame("attribution")) is not None:
        known = attribution.dropna(subset=["attribution", "patched"])
        data["attribution"] = _attribution(known.head(ATTRIBUTED))
        context["attributed"] = shown(len(known))
        context["correlation"] = _rank_correlation(known)
    return Section("pathway", context, data) if data else None


def _curve(curve: pd.DataFrame) -> dict[str, list[Any]]:
    """The last decision with its standard error, and the decisions before it."""
    error = curve["score_sd"].fillna(0) / curve["decisions"] ** 0.5
    frame = curve[["layer", "outcome", "before_end", "decisions", "score"]]
    return columns(frame.assign(low=curve["score"] - 1.96 * error,
                                high=curve["score"] + 1.96 * error))  # fmt: skip


def _attribution(known: pd.DataFrame) -> dict[str, list[Any]]:
    return {name: column(known[name]) for name in ("layer", "feature", "attribution", "patched")}


def _rank_correlation(known: pd.DataFrame) -> str | None:
    if len(known) < 3:
        return None
    found = known["attribution"].corr(known["patched"], method="spearman")
    return None if pd.isna(found) else f"{found:.2f}"
