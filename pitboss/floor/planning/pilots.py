"""Measured speeds: how many units a second an experiment did on a kind of GPU.

In 2025 durations were guessed, and wrong by up to 60 times. A pilot is a small part of the real
work, timed on a GPU of the kind that will do the rest.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from pitboss.errors import BadInput


@dataclass(frozen=True, slots=True)
class PilotRecord:
    """One measurement.

    Attributes:
        gpu_kind: The driver's name, such as NVIDIA H200.
        experiment: As `pitboss.studies.workload` calls it, such as patching.
        model: Catalogue id.
        units_per_second: Of what the experiment counts: games, patched runs, features.
        measured_at: UTC, ISO 8601.
        source: The run or command it comes from.
    """

    gpu_kind: str
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
    """Add a measurement; the file is replaced in one step."""
    _check(record, str(path))
    records = [*read_pilots(path), record]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps([asdict(r) for r in records], indent=1) + "\n", "utf-8")
    os.replace(temporary, path)


def _check(record: PilotRecord, where: str) -> None:
    speed = record.units_per_second
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < 1e12:
        raise BadInput(
            f"{speed!r} units a second is no speed.",
            where=f"{where}, {record.experiment} on {record.gpu_kind}",
            next="Measure it again.",
        )


def newest(
    records: Iterable[PilotRecord], gpu_kind: str, experiment: str, model: str
) -> PilotRecord | None:
    """The latest measurement of this work on this kind of GPU, or None."""
    asked = (gpu_kind, experiment, model)
    found = [r for r in records if (r.gpu_kind, r.experiment, r.model) == asked]
    return max(found, key=lambda record: record.measured_at, default=None)
