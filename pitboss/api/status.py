"""What a study is expected to make, what is there, at which rate, and how long the rest takes.

Everything comes from the study's folder: no server is asked. Work that is done is what the store's
records say; work that goes on shows as claims that a living process holds, or as fresh parts.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pitboss.api.shown import Shown
from pitboss.api.steps import Step, kinds_of, rate_of, share_of_step, steps_of
from pitboss.floor.locks.claims import FOLDER
from pitboss.floor.locks.kernel_lock import KernelLock
from pitboss.store import KINDS, Store
from pitboss.store.parts import Record

FRESH = 60.0
"""Seconds, or three times what a part takes: a study without news for longer is not at work."""


@dataclass(frozen=True)
class WorkerStatus:
    """What one worker did.

    Attributes:
        worker: Its work pool, or the kind of device where no pool is known.
        experiment: What its newest part belongs to.
        parts: Parts it has finished.
        rows: Rows in them.
        rate: Its rows a second while at work on its newest parts of that experiment.
        quiet: Seconds since it finished its newest part.
    """

    worker: str
    experiment: str
    parts: int
    rows: int
    rate: float | None
    quiet: float


@dataclass(frozen=True, repr=False)
class Status(Shown):
    """Where a study stands.

    Attributes:
        study: Its name.
        state: complete, working, stopped, or empty.
        path: Its folder.
        steps: One a table, in the order of the plan.
        workers: One a worker that finished something.
        working_on: Units that living processes hold a claim on.
        left: Seconds of work left in the experiments whose rest can be told, one after the other;
            None if none can.
        quiet: Seconds since anything was finished; None if nothing was.
        problems: What keeps the study from being complete, as its summary or a check says.
    """

    study: str
    state: str
    path: str
    steps: tuple[Step, ...]
    workers: tuple[WorkerStatus, ...]
    working_on: tuple[str, ...]
    left: float | None
    quiet: float | None
    problems: tuple[str, ...]

    @property
    def share(self) -> float:
        """Finished share of the expected rows (parts where rows are not fixed), from 0 to 1.

        Experiments count alike; one that cannot be counted yet counts as not begun.
        """
        if not self.steps:
            return 0.0
        return sum(share_of_step(step) for step in self.steps) / len(self.steps)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self) | {"share": round(self.share, 4)}


def status_of(store: Store, *, now: float | None = None) -> Status:
    """Where a study stands.

    Args:
        now: Epoch seconds; the clock's if None.
    """
    moment = time.time() if now is None else now
    steps = steps_of(store)
    problems = [step.problem for step in steps if step.problem]
    records = [r for kind in kinds_of(store) for r in store.records(kind)]
    finished = [r.facts["finished"] for r in records if "finished" in r.facts]
    claimed = _claims(store)
    quiet = max(0.0, moment - max(finished)) if finished else None
    lefts: dict[str, float] = {}  # tables of one experiment are made together
    for step in steps:
        if step.left is not None and not step.complete:
            lefts[step.experiment] = max(step.left, lefts.get(step.experiment, 0.0))
    return Status(
        study=str(store.manifest["name"]),
        state=_state(steps, records, quiet, claimed, problems),
        path=str(store.path),
        steps=tuple(steps),
        workers=_workers(records, moment),
        working_on=claimed,
        left=sum(lefts.values()) if lefts else None,
        quiet=quiet,
        problems=tuple(problems),
    )


def _workers(records: Sequence[Record], moment: float) -> tuple[WorkerStatus, ...]:
    by_worker: dict[str, list[Record]] = {}
    units: dict[str, Record] = {}  # of the tables that one unit leaves, the first counts
    for record in sorted(records, key=lambda r: list(KINDS).index(r.ref.kind)):
        units.setdefault(record.ref.key, record)
    for record in units.values():
        if "finished" in record.facts:
            name = str(record.facts.get("worker") or record.facts.get("device") or "unknown")
            by_worker.setdefault(name, []).append(record)
    made = []
    for name, own in sorted(by_worker.items()):
        newest = max(own, key=lambda r: float(r.facts["finished"]))
        experiment = str(newest.facts.get("experiment", ""))
        same = [
            r
            for r in own
            if r.facts.get("experiment") == experiment and r.ref.kind == newest.ref.kind
        ]
        made.append(
            WorkerStatus(
                name,
                experiment,
                len(own),
                sum(r.ref.rows for r in own),
                rate_of(same),
                max(0.0, moment - float(newest.facts["finished"])),
            )
        )
    return tuple(made)


def _claims(store: Store) -> tuple[str, ...]:
    """Keys of the units that a living process of this machine works on."""
    folder = store.path / FOLDER
    held = [path for path in sorted(folder.rglob("*.lock")) if KernelLock(path).holder()]
    return tuple(path.relative_to(folder).as_posix().removesuffix(".lock") for path in held)


def _state(
    steps: Sequence[Step],
    records: Sequence[Record],
    quiet: float | None,
    claimed: Sequence[str],
    problems: Sequence[str],
) -> str:
    if steps and all(step.complete for step in steps) and not problems:
        return "complete"
    longest = max((float(r.facts.get("seconds", 0.0)) for r in records), default=0.0)
    if claimed or (quiet is not None and quiet < max(FRESH, 3 * longest)):
        return "working"
    return "stopped" if records else "empty"
