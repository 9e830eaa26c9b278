"""What ran and what it cost."""

from typing import Any

from pitboss.report.page.book import Book, Section
from pitboss.report.page.numbers import percent, seconds, shown


def build(book: Book) -> Section | None:
    experiments = book.summary.get("experiments")
    if not experiments:
        return None
    rows: list[dict[str, Any]] = []
    for name, found in experiments.items():
        for kind, step in found["steps"].items():
            valid = step["valid_responses"]
            rows.append(
                {
                    "experiment": name,
                    "kind": kind,
                    "rows": shown(step["rows"]["actual"]),
                    "parts": f"{step['parts']['actual']:,}",
                    "valid": percent(valid["rate"]) if valid else "",
                    "seconds": seconds(step["wall_seconds"] or step["lane_seconds"] or None),
                    "speed": shown(step["rows_per_second"]) if step["rows_per_second"] else "–",
                    "devices": ", ".join(book.tables.devices(kind)),
                }
            )
    lane = sum(found["lane_seconds"] for found in experiments.values())
    return Section("ran", {"rows": rows, "total": seconds(lane)})
