"""Pilots from work that was done: every finished part says how long it took."""

from collections import defaultdict
from datetime import UTC, datetime
from typing import NamedTuple

from pitboss.errors import BadInput
from pitboss.floor.planning.pilots import PilotRecord
from pitboss.store import Store

CPU = "cpu"
# (table, experiment, rows a unit): units as `pitboss.studies.workload` counts them. A feature has
# a row of sums for each of the two groups.
_TABLES = (
    ("games", "games", 1),
    ("games", "pathway", 1),
    ("sums", "features", 2),
    ("screening", "screening", 1),
    ("trials", "patching", 1),
    ("persistent", "persistent", 1),
)


class _Part(NamedTuple):
    units: float
    seconds: float
    finished: float


def timed(store: Store, kind: str) -> list[PilotRecord]:
    """The speed of each experiment and model in a study's results, all parts taken together.

    Args:
        kind: The kind of GPU that the parts were computed on, or "cpu". Parts do not say which
            GPU it was, only whether it was one; those made on the other sort are left out.

    Raises:
        BadInput: No part says how long it took there.
    """
    device = "cpu" if kind == CPU else "cuda"
    done: dict[tuple[str, str], list[_Part]] = defaultdict(list)
    for table, experiment, rows in _TABLES:
        for record in store.records(table):
            facts, model = record.facts, record.identity.get("model")
            here = str(facts.get("device", "")).startswith(device)
            if here and facts.get("experiment") == experiment and facts.get("seconds"):
                part = _Part(record.ref.rows / rows, facts["seconds"], facts["finished"])
                done[experiment, str(model)].append(part)
    if not done:
        raise BadInput(
            f"No finished part says how long it took on a {device} device.",
            where=str(store.path),
            next="Run a small study of the same model on this kind of GPU first.",
        )
    return [_record(kind, *key, parts, str(store.path)) for key, parts in sorted(done.items())]


def _record(kind: str, experiment: str, model: str, parts: list[_Part], where: str) -> PilotRecord:
    speed = sum(part.units for part in parts) / sum(part.seconds for part in parts)
    last = datetime.fromtimestamp(max(part.finished for part in parts), UTC)
    source = f"{len(parts)} parts of {where}"
    return PilotRecord(kind, experiment, model, speed, last.isoformat(timespec="seconds"), source)
