"""Games by condition: bankruptcies, bets and rounds, with intervals."""

from typing import Any

import pandas as pd

from pitboss.analysis.games import condition_outcomes
from pitboss.analysis.proportions import wilson
from pitboss.games.conditions import COMPONENTS
from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import columns
from pitboss.report.page.means import t_intervals
from pitboss.report.page.numbers import interval, percent

COLUMNS = [
    "key", "experiment", "model", "condition", "bet_type", "components", "outcome", "rounds",
    "total_bet", "retries",
]  # fmt: skip


def build(book: Book) -> Section | None:
    games = played(book)
    if games is None:
        return None
    table = condition_outcomes(games)
    table = in_order(table.merge(_means(games), on=["model", "condition"], how="left"))
    keep = ["model", "bet_type", "components", "games", "finished", "bankruptcy",
            "bankruptcy_rate", "bankruptcy_low", "bankruptcy_high", "mean_rounds", "rounds_low",
            "rounds_high", "mean_bet", "bet_low", "bet_high"]  # fmt: skip
    context = {"rows": [_summary(book, rows, names) for names, rows in
                        games.groupby(["model", "bet_type"])]}  # fmt: skip
    return Section("games", context, {"games": columns(table[keep])})


def played(book: Book) -> pd.DataFrame | None:
    """The games of Exp0, or None where the study has none."""
    found = book.frame("games", COLUMNS)
    if found is None:
        return None
    games = found[found["experiment"] == "games"]
    return None if games.empty else games


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Conditions by model and bets: BASE, then by number of components, then as in the prompt."""
    order = [_place(name) for name in table["components"]]
    return table.assign(order=order).sort_values(["model", "bet_type", "order"])


def _summary(book: Book, rows: pd.DataFrame, names: Any) -> dict[str, Any]:
    model, bets = names
    done = rows[rows["outcome"] != "aborted"]
    bankrupt = int((done["outcome"] == "bankruptcy").sum())
    where = f"experiment == 'games' and model == '{model}' and bet_type == '{bets}'"
    low, high = (float(end[0]) for end in wilson([bankrupt], [len(done)]))
    key, put = f"games.{model}.{bets}", book.ledger.put
    return {
        "model": model,
        "bets": bets,
        "games": put(f"{key}.games", len(rows), "games.parquet", where),
        "bankrupt": put(f"{key}.bankrupt", bankrupt, "games.parquet",
                        f"{where} and outcome == 'bankruptcy'"),
        "rate": percent(bankrupt / len(done) if len(done) else None),
        "between": interval(low, high),
        "stop": put(f"{key}.stopped", int((done["outcome"] == "voluntary_stop").sum()),
                    "games.parquet", f"{where} and outcome == 'voluntary_stop'"),
        "aborted": put(f"{key}.aborted", len(rows) - len(done), "games.parquet",
                       f"{where} and outcome == 'aborted'"),
    }  # fmt: skip


def _means(games: pd.DataFrame) -> pd.DataFrame:
    """Intervals of a condition's mean rounds and of its games' mean bets."""
    done = games[games["outcome"] != "aborted"]
    done = done.assign(bet=done["total_bet"] / done["rounds"].where(done["rounds"] > 0))
    found = t_intervals(done, ["model", "condition"], {"rounds": None, "bet": None})
    return found[["rounds_low", "rounds_high", "bet_low", "bet_high"]].reset_index()


def _place(name: str) -> str:
    letters = "" if name == "BASE" else name
    return f"{len(letters)}" + "".join(str(COMPONENTS.index(letter)) for letter in letters)
