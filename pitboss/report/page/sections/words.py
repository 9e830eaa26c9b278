"""Words that go with the safe and with the risky value, over all features found causal."""

import pandas as pd

from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import plain
from pitboss.report.page.numbers import shown

TOP = 12


def build(book: Book) -> Section | None:
    words = book.frame("words")
    if words is None:
        return None
    pooled = words[words["scope"] == "all"]
    if pooled.empty:
        return None
    data = [bar for _, rows in pooled.groupby("prompt") for bar in bars(rows)]
    differ = int((pooled["q_responses"] <= 0.05).sum())
    context = {"words": shown(len(pooled)), "differ": shown(differ)}
    return Section("words", context, {"words": data})


def bars(rows: pd.DataFrame) -> list[dict[str, object]]:
    """The words of one prompt with the largest z on either side."""
    ranked = rows.sort_values(["z", "word"])
    ends = pd.concat([ranked[ranked["z"] < 0].head(TOP), ranked[ranked["z"] > 0].tail(TOP)])
    return [
        {"p": row.prompt, "w": row.word, "z": plain(row.z), "q": plain(row.q_responses),
         "s": int(row.responses_safe), "r": int(row.responses_risky)}
        for row in ends.itertuples()
    ]  # fmt: skip
