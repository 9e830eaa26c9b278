"""From the original's rule to this one, and what its reader would have made of the responses."""

from typing import Any

from pitboss.report.page.book import Book, Section
from pitboss.report.page.numbers import interval, percent, shown


def build(book: Book) -> Section | None:
    ladder = book.document("ladder")
    steps = ladder.get("steps", []) if isinstance(ladder, dict) else ladder
    readers = book.document("readers")
    original = book.document("original") or {}
    if not (ladder or readers or original):
        return None
    context = {
        "ladder": [_step(book, step) for step in steps or []],
        "readers": _readers(book, readers or []),
        "original": [_old(row) for row in original.get("choices", [])],
        "sentences": original.get("sentences", []),
        "planted": any(step.get("known_causal") is not None for step in steps or []),
    }
    return Section("readers", context)


def _step(book: Book, step: dict[str, Any]) -> dict[str, Any]:
    """One rung; one that could not be climbed has no count, and says why in its note."""
    count = step.get("count")
    put = book.ledger.put(f"ladder.{step['step']}", count, "ladder.json",
                          f"step == {step['step']}", "count")  # fmt: skip
    return {
        **{name: step.get(name, "") for name in ("step", "name", "rule", "note")},
        "count": put,
        "known": [step.get("known_causal"), step.get("known_null")],
        "of": shown(step.get("of")),
        "gained": shown(step.get("gained")),
        "lost": shown(step.get("lost")),
        "share": count / step["of"] if count is not None and step.get("of") else 0,
    }  # fmt: skip


def _old(row: dict[str, Any]) -> dict[str, Any]:
    """What one reader makes of the original's published responses to one prompt."""
    return {
        **{name: row[name] for name in ("prompt", "reader")},
        **{name: shown(row[name]) for name in ("responses", "decided", "stops", "made_up",
                                               "bets_called_stop")},
        "rate": percent(row["rate"]),
        "between": interval(row["low"], row["high"]),
    }  # fmt: skip


def _readers(book: Book, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per prompt: how many responses the old reader and ours read alike."""
    made = []
    for prompt in sorted({cell["prompt"] for cell in cells}):
        here = [cell for cell in cells if cell["prompt"] == prompt]
        total = sum(cell["responses"] for cell in here)
        same = sum(cell["responses"] for cell in here if cell["old"] == cell["read"])
        wrong_stops = sum(
            cell["responses"] for cell in here if cell["old"] == "stop" != cell["read"]
        )
        where = f"prompt == '{prompt}'"
        made.append(
            {
                "prompt": prompt,
                "total": book.ledger.put(f"readers.{prompt}", total, "readers.json", where,
                                         "sum of responses"),
                "same": book.ledger.put(f"readers.{prompt}.same", same, "readers.json",
                                        f"{where} and old == read", "sum of responses"),
                "stops": book.ledger.put(f"readers.{prompt}.stops", wrong_stops, "readers.json",
                                         f"{where} and old == 'stop' and read != 'stop'",
                                         "sum of responses"),
            }
        )  # fmt: skip
    return made


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of a path and a value."""
    if isinstance(value, dict):
        return [row for k, v in value.items() for row in flat(v, f"{path}.{k}" if path else str(k))]
    if isinstance(value, list):
        if all(not isinstance(item, dict | list) for item in value):
            return [(path, ", ".join(_cell(item) for item in value) or "–")]
        return [row for n, item in enumerate(value) for row in flat(item, f"{path}[{n}]")]
    return [(path, _cell(value))]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return shown(value) if isinstance(value, float) else "–" if value is None else str(value)
