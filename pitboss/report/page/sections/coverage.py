"""What was expected, what was done, and what is left out of which count, and why."""

from typing import Any

from pitboss.report.page.book import Book, Section
from pitboss.report.page.numbers import shown
from pitboss.report.tables import primary


def build(book: Book) -> Section | None:
    experiments = book.summary.get("experiments", {})
    rows = [
        {
            "experiment": name,
            "kind": kind,
            "parts": f"{step['parts']['actual']:,} / {step['parts']['expected']:,}",
            "rows": shown(step["rows"]["actual"]),
            "expected": step["rows"]["expected"],
            "expected_shown": shown(step["rows"]["expected"]),
            "whole": step["parts"]["actual"] == step["parts"]["expected"]
            and step["rows"]["expected"] in (None, step["rows"]["actual"]),
        }
        for name, found in experiments.items()
        for kind, step in found["steps"].items()
    ]
    excluded = [*_untested(book), *_undecided(book), *_statistics(book), *_aborted(book)]
    if not (rows or excluded):
        return None
    context = {
        "rows": rows,
        "excluded": excluded,
        "problems": book.summary.get("problems", []),
        "shortfalls": book.summary.get("shortfalls", []),
    }
    return Section("coverage", context)


def _untested(book: Book) -> list[dict[str, Any]]:
    effects = book.frame("effects", ["role", "phase", "contrast", "outcome", "status", "reason"])
    if effects is None:
        return []
    rows = primary(effects)
    rows = rows[(rows["role"] == "feature") & (rows["status"] != "tested")]
    return _reasons(book, "effects", rows["reason"], "status != 'tested'")


def _undecided(book: Book) -> list[dict[str, Any]]:
    trials = book.frame("trials", ["decision", "reason"])
    if trials is None:
        return []
    return _reasons(book, "trials", trials.loc[trials["decision"] == "none", "reason"],
                    "decision == 'none'")  # fmt: skip


def _statistics(book: Book) -> list[dict[str, Any]]:
    statistics = book.frame("statistics", ["status", "reason"])
    if statistics is None:
        return []
    rows = statistics.loc[statistics["status"] != "tested", "reason"]
    return _reasons(book, "statistics", rows, "status != 'tested'")


def _aborted(book: Book) -> list[dict[str, Any]]:
    """Games without an outcome, of Exp0 and Exp1 and of those under a patch that stays."""
    made = []
    for kind in ("games", "persistent"):
        games = book.frame(kind, ["outcome", "reason"])
        if games is not None:
            reasons = games.loc[games["outcome"] == "aborted", "reason"]
            made += _reasons(book, kind, reasons, "outcome == 'aborted'")
    return made


def _reasons(book: Book, kind: str, reasons: Any, rows: str) -> list[dict[str, Any]]:
    counted = reasons.fillna("").value_counts().sort_index()
    made = []
    for reason, count in counted.items():
        given = f"reason == '{reason}'" if reason else "reason.isna()"
        put = book.ledger.put(f"excluded.{kind}.{reason}", int(count), f"{kind}.parquet",
                              f"{rows} and {given}"
                              + (" (primary contrast)" if kind == "effects" else ""))  # fmt: skip
        made.append({"kind": kind, "reason": str(reason), "count": put})
    return made
