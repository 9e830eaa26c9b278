"""Controls that could have failed: own value, reconstruction, permuted labels, the baseline."""

from typing import Any

from pitboss.report.page.book import Book, Section
from pitboss.report.page.numbers import interval, percent, shown

BASE = "role == 'baseline' and phase == 'discovery'"


def build(book: Book) -> Section | None:
    found: dict[str, Any] | None = book.document("controls")
    if not found:
        return None
    own = found.get("own_value") or {}
    permuted = found.get("permutation")
    context = {
        "own": {k: shown(own[k]) for k in ("runs", "identical")} if own.get("runs") else None,
        "permuted": {k: shown(v) for k, v in permuted.items()} if permuted else None,
        "baseline": [
            {
                "prompt": row["prompt"],
                "n": book.ledger.put(
                    f"baseline.{row['prompt']}.n", row["n"], "trials.parquet",
                    f"{BASE} and scene == '{row['prompt']}' and decision != 'none'",
                ),
                "stops": book.ledger.put(
                    f"baseline.{row['prompt']}.stops", row["stops"], "trials.parquet",
                    f"{BASE} and scene == '{row['prompt']}' and decision == 'stop'",
                ),
                "rate": percent(row["rate"]),
                "between": interval(row["low"], row["high"]),
            }
            for row in found.get("baseline", [])
        ],
        "reconstruction": [
            {
                "layer": row["layer"],
                "prompt": row["prompt"],
                "n": shown(row["n"]),
                "stop": percent(row["stop"]),
                "between": interval(row.get("low"), row.get("high")),
                "baseline": percent(row["baseline"]),
            }
            for row in found.get("reconstruction", [])
        ],
    }  # fmt: skip
    return Section("controls", context) if any(context.values()) else None
