"""Games by condition: bankruptcies, bets and rounds, with intervals."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pitboss.analysis.games import condition_outcomes
from pitboss.analysis.proportions import wilson
from pitboss.games.conditions import COMPONENTS
from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import columns
from pitboss.report.page.numbers import interval, percent

COLUMNS = [
    "key", "experiment", "model", "condition", "bet_type", "components", "outcome", "rounds",
    "total_bet", "retries",
]  # fmt: skip


def build(book: Book) -> Section | None:
    played = book.tables.frame("games", COLUMNS)
    if played is None:
        return None
    games = played[played["experiment"] == "games"]
    if games.empty:
        return None
    table = condition_outcomes(games)
    means = _means(games)
    table = table.merge(means, on=["model", "condition"], how="left")
    table["order"] = [_order(name) for name in table["components"]]
    table = table.sort_values(["model", "bet_type", "order"]).drop(columns="order")
    keep = ["model", "bet_type", "components", "games", "finished", "bankruptcy",
            "bankruptcy_rate", "bankruptcy_low", "bankruptcy_high", "mean_rounds", "rounds_low",
            "rounds_high", "mean_bet", "bet_low", "bet_high"]  # fmt: skip
    context = {"rows": [_summary(book, rows, names) for names, rows in
                        games.groupby(["model", "bet_type"])]}  # fmt: skip
    return Section("games", context, {"games": columns(table[keep])})


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
    """t intervals of a condition's mean rounds and of its games' mean bets."""
    done = games[games["outcome"] != "aborted"]
    done = done.assign(bet=done["total_bet"] / done["rounds"].where(done["rounds"] > 0))
    grouped = done.groupby(["model", "condition"])
    made = pd.DataFrame(index=grouped.size().index)
    for name, source in (("rounds", "rounds"), ("bet", "bet")):
        mean, sd, n = (getattr(grouped[source], how)() for how in ("mean", "std", "count"))
        half = stats.t.ppf(0.975, (n - 1).clip(lower=1)) * sd / np.sqrt(n.clip(lower=1))
        made[f"{name}_low"], made[f"{name}_high"] = (mean - half).clip(lower=0), mean + half
    return made.reset_index()


def _order(name: str) -> str:
    """BASE first, then by number of components, then in the order of the prompt."""
    letters = "" if name == "BASE" else name
    return f"{len(letters)}" + "".join(str(COMPONENTS.index(letter)) for letter in letters)
