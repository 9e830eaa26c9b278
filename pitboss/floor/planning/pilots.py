"""Measured speeds: how many units a second an experiment did on a kind of GPU.

In 2025 durations were guessed, and wrong by up to 60 times. A pilot is a small part of the real
work, timed on a GPU of the kind that will do the rest: every finished part says how long it took.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pitboss.errors import BadInput
from pitboss.store import Store
from pitboss.store.documents import read_value, replace_json
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

    def __post_init__(self) -> None:
        if not 0 < self.units_per_second < 1e12:
            raise BadInput(
                f"{self.units_per_second!r} units a second is no speed.",
                where=f"{self.experiment} on {self.gpu}, {self.source}",
                next="Measure it again.",
            )


def read_pilots(path: Path) -> list[PilotRecord]:
    """All records of a file; none where it does not exist yet.

    Raises:
        BadInput: The file is damaged, or a record is impossible.
    """
    return read_value(path, list[PilotRecord], [], what="pilots", next_step="Measure them again.")


def add_pilot(record: PilotRecord, path: Path) -> None:
    """Add a measurement to a file; raises as `read_pilots` does."""
    replace_json(path, [asdict(each) for each in (*read_pilots(path), record)])


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
    found = []
    for (kind, model), parts in sorted(done.items()):
        seconds = sum(part.facts["seconds"] for part in parts)
        speed = sum(part.ref.rows for part in parts) / counted[kind].rows / seconds
        last = datetime.fromtimestamp(max(part.facts["finished"] for part in parts), UTC)
        source = f"{len(parts)} parts of {store.path}"
        at = last.isoformat(timespec="seconds")
        found.append(PilotRecord(gpu, kind, model, speed, at, source))
    return found
