"""What a study should have made and what it made; anything missing fails the run.

The counts are taken from the study's own parts, never from what a step believes it did.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from pitboss.analysis.readable import COLUMNS, stated
from pitboss.analysis.repeats import (
    NewTexts,
    new_texts,
    repetitions,
    text_columns,
    text_digests,
)
from pitboss.errors import Incomplete
from pitboss.formats import duration, percent
from pitboss.store import SCHEMAS, Store
from pitboss.store.parts import Record

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Expected:
    """What one step of a study must have left behind.

    Attributes:
        experiment: Heading under which it is reported, such as games or patching.
        kind: Kind of its parts.
        keys: Content keys of its parts.
        rows: Rows of all its parts together; None where the number is not known beforehand.
        at_least: column -> value -> rows with this value, such as
            {"outcome": {"bankruptcy": 25}}.
        shortfall_allowed: Whether fewer than `at_least` is reported without failing the run: for a
            quota that ended at its cap.
    """

    experiment: str
    kind: str
    keys: Sequence[str]
    rows: int | None = None
    at_least: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    shortfall_allowed: bool = False


def summarize(
    store: Store,
    expected: Iterable[Expected],
    waiting: Sequence[str] = (),
    *,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compares what should exist with what does.

    Args:
        store: The study.
        expected: What each step must have left behind.
        waiting: Why further steps are not known yet, one sentence each.
        extra: More to say in the summary, under its own keys.

    Returns:
        {"study", "complete", "problems": [sentences], "shortfalls": [sentences], "experiments":
        {experiment: {"parts", "rows", "rows_per_second", "worker_seconds", "wall_seconds",
        "valid_responses", "steps": {kind: ...}}}, "warnings": [sentences], **extra}. worker_seconds
        adds up the parts' facts "seconds"; wall_seconds is from the first "started" to the last
        "finished" (epoch seconds) and null without them; rows_per_second divides the rows by it,
        or by worker_seconds. A step with responses says of each arm how many are "new_texts".
    """
    problems = list(waiting)
    shortfalls: list[str] = []
    warnings: list[str] = []
    grouped: dict[str, list[tuple[dict[str, Any], list[Record]]]] = {}
    for step in expected:
        found, records = _step(store, step, problems, shortfalls)
        grouped.setdefault(step.experiment, []).append((found, records))
        texts = _new_texts(store, step, records)
        found["new_texts"] = {arm: draws.as_dict() for arm, draws in texts.items()}
        warnings += repetitions(f"{step.experiment}/{step.kind}", texts)
    problems += [f"{p.path} {p.what}" for p in store.verify() if not p.harmless]
    return {
        "study": store.manifest["name"],
        "complete": not problems,
        "problems": problems,
        "shortfalls": shortfalls,
        "warnings": warnings,
        "experiments": {name: _experiment(steps) for name, steps in grouped.items()},
        **(extra or {}),
    }


def write_summary(
    store: Store,
    expected: Iterable[Expected],
    waiting: Sequence[str] = (),
    *,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Writes summary.json, then fails if anything is missing or too much.

    Raises:
        Incomplete: Counts differ from what is expected; the summary is written all the same.
    """
    summary = summarize(store, expected, waiting, extra=extra)
    path = store.write_json(SUMMARY, summary)
    if not summary["complete"]:
        problems = summary["problems"]
        more = f" And {len(problems) - 3} more." if len(problems) > 3 else ""
        raise Incomplete(
            " ".join(problems[:3]) + more,
            where=str(path),
            next="Run the study again; finished parts are not computed twice.",
        )
    return path


def summary_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The summary as rows for an artifact."""
    return [
        {
            "experiment": experiment,
            "table": kind,
            "rows": step["rows"]["actual"],
            "expected": _or(step["rows"]["expected"], "not fixed"),
            "parts": f"{step['parts']['actual']}/{step['parts']['expected']}",
            "valid responses": _part(step["valid_responses"], "valid"),
            "cut off": _part(step["valid_responses"], "cut_off"),
            "new texts": _share(step["new_texts"]),
            "wall": duration(found["wall_seconds"] or found["worker_seconds"]),
            "rows/s": step["rows_per_second"],
        }
        for experiment, found in summary["experiments"].items()
        for kind, step in found["steps"].items()
    ]


def _step(
    store: Store, step: Expected, problems: list[str], shortfalls: list[str]
) -> tuple[dict[str, Any], list[Record]]:
    records = [r for key in sorted(set(step.keys)) if (r := store.record(step.kind, key))]
    rows = sum(record.ref.rows for record in records)
    name = f"{step.experiment}/{step.kind}"
    keys = set(step.keys)
    if len(records) < len(keys):
        first = min(keys - {record.ref.key for record in records})
        problems.append(
            f"{name}: {len(records):,} of {len(keys):,} parts are finished, first missing {first}."
        )
    if step.rows is not None and rows != step.rows:
        problems.append(f"{name}: {rows:,} rows, expected {step.rows:,}.")
    counts, valid = _counts(store, step, records)
    for column, wanted in step.at_least.items():
        for value, number in wanted.items():
            if (actual := counts[column].get(value, 0)) < number:
                sentence = f"{name}: {actual:,} of {number:,} with {column} {value}."
                (shortfalls if step.shortfall_allowed else problems).append(sentence)
    found = {
        "kind": step.kind,
        "parts": {"expected": len(keys), "actual": len(records)},
        "rows": {"expected": step.rows, "actual": rows},
        "valid_responses": valid,
        "counts": {
            column: {value: counts[column].get(value, 0) for value in wanted}
            for column, wanted in step.at_least.items()
        },
        **_times(records, rows),
    }
    return found, records


def _counts(
    store: Store, step: Expected, records: list[Record]
) -> tuple[dict[str, dict[str, int]], dict[str, Any] | None]:
    """Counts of the values asked for, and how many responses hold a decision."""
    reads = _has_responses(step)
    columns = [*step.at_least, *(COLUMNS if reads else ())]
    if not columns:
        return {}, None
    table = store.read(step.kind, [r.ref.key for r in records], columns=sorted(set(columns)))
    counts = {column: _value_counts(table, column) for column in step.at_least}
    return counts, stated(table.select(COLUMNS).to_pandas()).as_dict() if reads else None


def _has_responses(step: Expected) -> bool:
    return {*COLUMNS, "response"} <= set(SCHEMAS[step.kind].names)


def _new_texts(store: Store, step: Expected, records: list[Record]) -> dict[str, NewTexts]:
    """Of the draws of a prompt that was drawn before, how many are new texts; by arm."""
    if not _has_responses(step):
        return {}
    columns = text_columns(step.kind)
    return new_texts(
        text_digests(store.read(step.kind, [r.ref.key], columns=columns).to_pandas(), step.kind)
        for r in records
    )


def _value_counts(table: pa.Table, column: str) -> dict[str, int]:
    counted: pd.Series = table.column(column).to_pandas().dropna().value_counts().sort_index()
    return {str(value): int(number) for value, number in counted.items()}


def _times(records: list[Record], rows: int) -> dict[str, Any]:
    worked = sum(float(record.facts.get("seconds", 0.0)) for record in records)
    timed = [r.facts for r in records if "started" in r.facts and "finished" in r.facts]
    wall = max(f["finished"] for f in timed) - min(f["started"] for f in timed) if timed else None
    base = wall or worked
    return {
        "worker_seconds": round(worked, 3),
        "wall_seconds": None if wall is None else round(wall, 3),
        "rows_per_second": round(rows / base, 3) if base else None,
    }


def _experiment(steps: list[tuple[dict[str, Any], list[Record]]]) -> dict[str, Any]:
    records = [record for _, found in steps for record in found]
    rows = sum(step["rows"]["actual"] for step, _ in steps)
    read = [step["valid_responses"] for step, _ in steps if step["valid_responses"]]
    valid, responses = sum(r["valid"] for r in read), sum(r["responses"] for r in read)
    return {
        "parts": {
            name: sum(step["parts"][name] for step, _ in steps) for name in ("expected", "actual")
        },
        "rows": rows,
        "valid_responses": (
            {"valid": valid, "responses": responses, "rate": valid / responses}
            if responses
            else None
        ),
        **_times(records, rows),
        "steps": {step.pop("kind"): step for step, _ in steps},
    }


def _or(value: Any, otherwise: str) -> Any:
    return otherwise if value is None else value


def _part(found: Mapping[str, Any] | None, name: str) -> str:
    return percent(found[name] / found["responses"]) if found and found["responses"] else ""


def _share(texts: Mapping[str, Any]) -> str:
    """Over all arms."""
    repeats = sum(arm["repeats"] for arm in texts.values())
    return percent(sum(arm["new"] for arm in texts.values()) / repeats) if repeats else ""
