"""The steps of a study: what each is to make, what it made, at which rate."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pitboss.report.made_by import DOCUMENTS
from pitboss.report.reader import EXPECTED
from pitboss.store import Store
from pitboss.store.parts import Record

RECENT = 20
"""So many of the newest parts make the rate."""


@dataclass(frozen=True)
class Step:
    """One table of one experiment.

    Attributes:
        experiment: Such as `games llama` or patching.
        table: Kind of table.
        parts: Finished parts.
        parts_expected: Parts there are to be; None while an earlier experiment decides.
        rows: Finished rows.
        rows_expected: Rows there are to be; None where the work itself decides.
        rate: Rows a second of wall time over the newest parts, all workers together; None untimed.
        left: Seconds of work left at that rate; None when it cannot be told.
        note: Why nothing can be said yet; empty otherwise.
    """

    experiment: str
    table: str
    parts: int
    parts_expected: int | None
    rows: int
    rows_expected: int | None
    rate: float | None
    left: float | None
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether every expected part is there, with the expected rows where these are fixed."""
        parts = self.parts_expected is not None and self.parts >= self.parts_expected
        return parts and self.rows_expected in (None, self.rows)

    @property
    def problem(self) -> str:
        """What is wrong although every part is there; empty if nothing is."""
        if self.complete or self.parts_expected is None or self.parts < self.parts_expected:
            return ""
        return (
            f"{self.experiment}/{self.table}: {self.rows:,} rows, expected {self.rows_expected:,}."
        )


def steps_of(store: Store) -> list[Step]:
    """The steps of the plan; of a finished study from its summary, which counted them.

    Of one that is not finished, from what those who work on it have written down.
    """
    if summary := _summary(store):
        return [
            Step(
                experiment,
                kind,
                step["parts"]["actual"],
                step["parts"]["expected"],
                step["rows"]["actual"],
                step["rows"]["expected"],
                step["rows_per_second"],
                0.0,
            )
            for experiment, found in summary["experiments"].items()
            for kind, step in found["steps"].items()
        ]
    steps: list[Step] = []
    for name in store.manifest["experiments"]:
        written = sorted((store.path / EXPECTED).glob(f"{name}-*.json"))
        if not written:
            steps.append(Step(name, "", 0, None, 0, None, None, None, note="not begun"))
        for path in written:
            steps += _written(store, store.read_json(f"{EXPECTED}/{path.name}"))
    return steps


def _written(store: Store, known: Mapping[str, Any]) -> list[Step]:
    """The steps of one experiment on one model that are known, and whether more will be."""
    label = str(known["experiment"])
    steps = [_step(store, label, each) for each in known["tables"]]
    if known["more"]:
        note = "what its last stages are follows from the ones before"
        steps.append(Step(label, "", 0, None, 0, None, None, None, note=note))
    return steps


def _summary(store: Store) -> dict[str, Any]:
    """The summary of a finished study; empty if there is none, or something is missing since."""
    if not (store.path / DOCUMENTS["summary"].file).is_file():
        return {}
    summary: dict[str, Any] = store.read_json(DOCUMENTS["summary"].file)
    counted: Counter[str] = Counter()
    for found in summary["experiments"].values():
        for kind, step in found["steps"].items():
            counted[kind] += step["parts"]["actual"]
    whole = all(len(store.refs(kind)) >= parts for kind, parts in counted.items())
    return summary if summary["complete"] and whole else {}


def _step(store: Store, label: str, expected: Mapping[str, Any]) -> Step:
    kind, keys, expected_rows = expected["table"], expected["keys"], expected["rows"]
    records = [r for key in keys if (r := store.record(kind, key))]
    rows = sum(record.ref.rows for record in records)
    rate = rate_of(records)
    if expected_rows is not None:
        rest: float | None = expected_rows - rows
    else:
        each = rows / len(records) if records else None
        rest = None if each is None else each * (len(keys) - len(records))
    left = 0.0 if len(records) >= len(keys) else None
    if left is None and rate and rest is not None:
        left = max(0.0, rest) / rate
    return Step(label, kind, len(records), len(keys), rows, expected_rows, rate, left)


def rate_of(records: Sequence[Record]) -> float | None:
    """Rows a second between the start and the end of the newest parts."""
    timed = [r for r in records if "started" in r.facts and "finished" in r.facts]
    newest = sorted(timed, key=lambda r: float(r.facts["finished"]))[-RECENT:]
    if not newest:
        return None
    began = min(float(r.facts["started"]) for r in newest)
    seconds = float(newest[-1].facts["finished"]) - began
    return round(sum(r.ref.rows for r in newest) / seconds, 3) if seconds > 0 else None


def share_of_step(step: Step) -> float:
    """Finished share of a step, from 0 to 1."""
    if step.complete:
        return 1.0
    if step.rows_expected:
        return min(1.0, step.rows / step.rows_expected)
    return step.parts / step.parts_expected if step.parts_expected else 0.0


def kinds_of(store: Store) -> list[str]:
    """Kinds of which there are records."""
    folder = store.path / "records"
    return sorted(path.name for path in folder.iterdir() if path.name != "final")
