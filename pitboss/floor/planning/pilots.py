"""Measured speeds: how many units a second an experiment did on a kind of GPU.

In 2025 durations were guessed, and wrong by up to 60 times. A pilot is a small part of the real
work, timed on a GPU of the kind that will do the rest: every finished part says how long it took.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pitboss.errors import BadInput
from pitboss.store import Store
from pitboss.store.documents import replace_json
from pitboss.store.parts import Record
from pitboss.studies.experiment import Counted

FILE = "pilots.json"
CPU = "cpu"


@dataclass(frozen=True)
class PilotRecord:
    """One measurement.

    Attributes:
        gpu: The driver's name of the kind of GPU, such as NVIDIA H200.
        experiment: The kind of experiment, such as patching.
        model: Catalogue id.
        units_per_second: Of what the experiment's workload counts as runs.
        measured_at: UTC, ISO 8601.
        source: The run or command it comes from.
    """

    gpu: str
    experiment: str
    model: str
    units_per_second: float
    measured_at: str
    source: str


def read_pilots(path: Path) -> list[PilotRecord]:
    """All records of a file; none where it does not exist yet.

    Raises:
        BadInput: The file is damaged, or a record is impossible.
    """
    try:
        records = [PilotRecord(**record) for record in json.loads(path.read_text("utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"The pilots cannot be read: {error}", where=str(path), next="Measure them again."
        ) from error
    for record in records:
        _check(record, str(path))
    return records


def add_pilot(record: PilotRecord, path: Path) -> None:
    """Add a measurement to a file."""
    _check(record, str(path))
    replace_json(path, [asdict(each) for each in (*read_pilots(path), record)])


def _check(record: PilotRecord, where: str) -> None:
    speed = record.units_per_second
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < 1e12:
        raise BadInput(
            f"{speed!r} units a second is no speed.",
            where=f"{where}, {record.experiment} on {record.gpu}",
            next="Measure it again.",
        )


def newest(
    records: Iterable[PilotRecord], gpu: str, experiment: str, model: str
) -> PilotRecord | None:
    """The latest measurement of this work on this kind of GPU, or None."""
    asked = (gpu, experiment, model)
    found = [r for r in records if (r.gpu, r.experiment, r.model) == asked]
    return max(found, key=lambda record: record.measured_at, default=None)


def timed(store: Store, gpu: str, counted: Mapping[str, Counted]) -> list[PilotRecord]:
    """The speed of each kind of experiment and model in a study's results, over all its parts.

    Args:
        gpu: The kind of GPU that the parts were computed on, or "cpu". Parts do not say which GPU
            it was, only whether it was one; those made on the other sort are left out.
        counted: By kind of experiment: the rows by which its units are counted.

    Raises:
        BadInput: No part says how long it took there.
    """
    device = "cpu" if gpu == CPU else "cuda"
    kinds: dict[str, str] = {
        name: each["kind"] for name, each in store.manifest["experiments"].items()
    }
    done: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for table in sorted({rows.table for rows in counted.values()}):
        for record in store.records(table):
            facts = record.facts
            kind = kinds.get(str(facts.get("experiment")), "")
            here = str(facts.get("device", "")).startswith(device) and facts.get("seconds")
            if here and kind in counted and counted[kind].table == table:
                done[kind, str(record.identity.get("model"))].append(record)
    if not done:
        raise BadInput(
            f"No finished part says how long it took on a {device} device.",
            where=str(store.path),
            next="Run a small study of the same model on this kind of GPU first.",
        )
    return [
        PilotRecord(
            gpu,
            kind,
            model,
            _speed(parts, counted[kind].rows),
            _latest(parts),
            f"{len(parts)} parts of {store.path}",
        )
        for (kind, model), parts in sorted(done.items())
    ]


def _speed(parts: Sequence[Record], rows: int) -> float:
    seconds = sum(part.facts["seconds"] for part in parts)
    return float(sum(part.ref.rows for part in parts) / rows / seconds)


def _latest(parts: Iterable[Record]) -> str:
    last = max(part.facts["finished"] for part in parts)
    return datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds")
