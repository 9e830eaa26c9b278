"""How the games were bet: the irrationality measures of each condition, with intervals."""

from typing import Any

from pitboss.analysis.irrationality import with_irrationality
from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import columns, plain
from pitboss.report.page.means import t_intervals
from pitboss.report.page.numbers import shown
from pitboss.report.page.sections.games import in_order, played

MOST: dict[str, float | None] = {"betting": 1.0, "extreme": 1.0, "loss_chasing": None}
"""The measures, and the most that each can be."""
COUNTED = {
    "betting": "mean over games of I_BA, those with a bet",
    "extreme": "mean over games of I_EC, those with a bet",
    "loss_chasing": "mean over games of I_LC, those with a bet after a loss",
}
BETS = ["game", "round", "balance", "bet", "won"]
CONDITION = ["model", "bet_type", "components"]


def build(book: Book) -> Section | None:
    games = played(book)
    decisions = book.frame("decisions", BETS)
    if games is None or decisions is None:
        return None
    decisions = decisions[decisions["game"].isin(games["key"])]
    if decisions["bet"].notna().sum() == 0:
        return None
    measured = with_irrationality(games, decisions)
    table = in_order(t_intervals(measured, CONDITION, MOST).reset_index()).drop(columns="order")
    by_bets = t_intervals(measured, ["model", "bet_type"], MOST).reset_index()
    context = {
        "rows": [_total(book, row) for row in by_bets.to_dict("records")],
        "conditions": [_line(row) for row in table.to_dict("records")],
    }
    return Section("betting", context, {"betting": columns(table)})


def _total(book: Book, row: dict[str, Any]) -> dict[str, Any]:
    """One model and kind of bets; its means can be counted again."""
    model, bets = row["model"], row["bet_type"]
    where = f"games of experiment == 'games' and model == '{model}' and bet_type == '{bets}'"
    made = _line(row)
    for name, cell in made["cells"].items():
        if cell["n"] != "0":
            cell["mean"] = book.ledger.put(f"betting.{model}.{bets}.{name}", float(row[name]),
                                           "decisions.parquet", where, COUNTED[name])  # fmt: skip
    return made


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """Means with intervals and the number of games that have a value."""
    return {
        "model": row["model"],
        "bets": row["bet_type"],
        "components": row.get("components", ""),
        "cells": {name: measure(row, name) for name in MOST},
    }


def measure(row: dict[str, Any], name: str) -> dict[str, Any]:
    """One measure of one group of games."""
    low, high = (plain(row[f"{name}_{end}"], 3) for end in ("low", "high"))
    return {
        "mean": shown(plain(row[name], 3)),
        "between": "" if low is None or high is None else f"{shown(low)} – {shown(high)}",
        "n": shown(int(row[f"{name}_n"])),
    }
