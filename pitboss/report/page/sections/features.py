"""The table of all patched features, and what each one's card shows."""

import pandas as pd

from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import FEATURE, column
from pitboss.report.page.numbers import shown
from pitboss.report.page.sections import cards
from pitboss.report.tables import strongest_first

DETAILED = 300
"""Features with everything on their card: all causal ones, then the strongest up to this number."""
MOST_DETAILED = 1000
"""Also of causal features no more than this; their texts would outweigh the page."""
TOKENS = 5


def build(book: Book) -> Section | None:
    findings = book.frame("findings")
    if findings is None:
        return None
    ordered = strongest_first(findings)
    causal = int(ordered["causal"].sum())
    kept = min(len(ordered), max(DETAILED, min(causal, MOST_DETAILED)))
    detailed = ordered.head(kept)
    data = {
        "features": table(book, ordered),
        "arms": cards.arms(book, ordered, detailed),
        "details": cards.details(book, detailed),
    }
    context = {
        "all": shown(len(ordered)),
        "detailed": shown(kept),
        "partly": kept < len(ordered),
        "strongest": _rows(ordered.head(25)),
    }
    return Section("features", context, data)


def table(book: Book, ordered: pd.DataFrame) -> dict[str, object]:
    """One entry a feature and column; prompts are numbers into the list of their names."""
    prompts = sorted(set(ordered["prompt"].dropna()))
    places = {name: n for n, name in enumerate(prompts)}
    made: dict[str, object] = {
        name: column(ordered[name])
        for name in (*FEATURE, "causal", "confirmed", "difference", "ci_low", "ci_high", "p", "q",
                     "e_value", "prompts_causal", "unreadable", "runs", "d", "screen_shift")
    }  # fmt: skip
    made["prompt"] = [places.get(name) for name in ordered["prompt"]]
    made["prompts"] = prompts
    made["rank"] = _ranks(book, ordered)
    made["tokens"] = _tokens(book, ordered)
    return made


def _ranks(book: Book, ordered: pd.DataFrame) -> list[object] | None:
    ranking = book.frame("ranking", [*FEATURE, "rank"])
    if ranking is None:
        return None
    ranks = ordered[FEATURE].merge(ranking, on=FEATURE, how="left")["rank"]
    return column(ranks.astype("Int64").astype(object).where(ranks.notna(), None))


def _tokens(book: Book, ordered: pd.DataFrame) -> list[str] | None:
    """The first few promoted tokens of each feature, which the search looks into as well."""
    tokens = book.frame("tokens", [*FEATURE, "rank", "token"])
    if tokens is None:
        return None
    first = tokens[tokens["rank"] <= TOKENS].sort_values([*FEATURE, "rank"])
    joined = first.groupby(FEATURE)["token"].agg(lambda t: " ".join(x.strip() for x in t))
    return [joined.get((layer, feature), "") for layer, feature in zip(
        ordered["layer"], ordered["feature"], strict=True)]  # fmt: skip


def _rows(first: pd.DataFrame) -> list[dict[str, object]]:
    """The strongest features as plain rows: for print, and for readers without scripts."""
    return [
        {
            "name": f"L{row.layer}/F{row.feature}",
            "causal": bool(row.causal),
            "prompt": row.prompt,
            "difference": "–" if pd.isna(row.difference) else _points(row.difference),
            "between": "–"
            if pd.isna(row.ci_low)
            else f"{_points(row.ci_low)} … {_points(row.ci_high)}",
            "p": "–" if pd.isna(row.p) else shown(float(row.p)),
            "q": "–" if pd.isna(row.q) else shown(float(row.q)),
        }
        for row in first.itertuples()
    ]  # fmt: skip


def _points(share: float) -> str:
    return f"{100 * share:+.0f}".replace("-", "−")
