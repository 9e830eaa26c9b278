"""What ran and what it cost."""

from collections.abc import Mapping
from typing import Any

from pitboss.report.page.book import Book, Section
from pitboss.report.page.numbers import percent, seconds, shown


def build(book: Book) -> Section | None:
    experiments = book.summary.get("experiments")
    if not experiments:
        return None
    rows = [
        _row(book, name, kind, step)
        for name, found in experiments.items()
        for kind, step in found["steps"].items()
    ]
    worked = sum(found["worker_seconds"] for found in experiments.values())
    context = {
        "rows": rows,
        "total": seconds(worked),
        "texts": any(row["new"] or row["cut_off"] for row in rows),
        "warnings": book.summary.get("warnings", []),
    }
    return Section("ran", context)


def _row(book: Book, name: str, kind: str, step: Mapping[str, Any]) -> dict[str, Any]:
    valid = step["valid_responses"] or {}
    return {
        "experiment": name,
        "kind": kind,
        "rows": shown(step["rows"]["actual"]),
        "valid": percent(valid["rate"]) if valid else "",
        "cut_off": _share(valid.get("cut_off"), valid.get("responses")),
        "new": _new(step.get("new_texts") or {}),
        "seconds": seconds(step["wall_seconds"] or step["worker_seconds"] or None),
        "speed": shown(step["rows_per_second"]) if step["rows_per_second"] else "–",
        "devices": ", ".join(book.devices(kind)),
    }


def _new(texts: Mapping[str, Mapping[str, int]]) -> str:
    """Over all arms."""
    new, repeats = (sum(arm[name] for arm in texts.values()) for name in ("new", "repeats"))
    return _share(new, repeats)


def _share(part: int | None, of: int | None) -> str:
    return "" if part is None or not of else percent(part / of)
