"""What a study is expected to make, what is there, at which rate, and how long the rest takes.

Everything comes from the study's folder: no server is asked. Work that is done is what the store's
records say; work that goes on shows as claims that a living process holds, or as fresh parts.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pitboss.errors import PitbossError
from pitboss.floor.claims import FOLDER
from pitboss.floor.lock import KernelLock
from pitboss.report.summary import SUMMARY, Expected
from pitboss.store import KINDS, Store
from pitboss.store.parts import Record
from pitboss.studies.loading import parse_study
from pitboss.studies.model import Study

RECENT = 20
"""So many of the newest parts make the rate."""

FRESH = 60.0
"""Seconds, or three times what a part takes: a study without news for longer is not at work."""


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
        rate: Rows a second of wall time over the newest parts, all lanes together; None untimed.
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
        """Whether every expected part is there."""
        return self.parts_expected is not None and self.parts >= self.parts_expected


@dataclass(frozen=True)
class Lane:
    """What one lane did.

    Attributes:
        lane: Its work pool, or the kind of device where no pool is known.
        experiment: What its newest part belongs to.
        parts: Parts it has finished.
        rows: Rows in them.
        rate: Its rows a second while at work on its newest parts of that experiment.
        quiet: Seconds since it finished its newest part.
    """

    lane: str
    experiment: str
    parts: int
    rows: int
    rate: float | None
    quiet: float


@dataclass(frozen=True)
class Status:
    """Where a study stands.

    Attributes:
        study: Its name.
        state: complete, working, stopped, or empty.
        path: Its folder.
        steps: One a table, in the order of the plan.
        lanes: One a lane that finished something.
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
    lanes: tuple[Lane, ...]
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
        return sum(_share(step) for step in self.steps) / len(self.steps)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self) | {"share": round(self.share, 4)}

    def __repr__(self) -> str:
        from pitboss.api.text import status_text

        return status_text(self)


def status_of(store: Store, *, now: float | None = None) -> Status:
    """Where a study stands.

    Args:
        now: Epoch seconds; the clock's if None.
    """
    moment = time.time() if now is None else now
    problems: list[str] = []
    steps = _steps(store, problems)
    records = [r for kind in _kinds(store) for r in store.records(kind)]
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
        lanes=_lanes(records, moment),
        working_on=claimed,
        left=sum(lefts.values()) if lefts else None,
        quiet=quiet,
        problems=tuple(problems),
    )


def study_of(store: Store) -> Study:
    """The study a folder was made with, as its manifest says; where it ran is not in there.

    Raises:
        BadInput: The settings are of another version of Pitboss.
    """
    settings = {k: v for k, v in store.manifest.items() if k not in ("resolved", "versions")}
    pool = "unknown"
    floor = {
        "games": dict.fromkeys(settings["games"]["models"], pool),
        "features": dict.fromkeys(settings["features"]["models"], pool),
        "pathway": pool,
        "patching": [pool],
        "words": pool,
    }
    return parse_study({**settings, "floor": floor}, where=f"{store.path}/manifest.json")


def _steps(store: Store, problems: list[str]) -> list[Step]:
    """The steps of the plan; of a finished study from its summary, which counted them."""
    summary = _summary(store)
    if summary:
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
    try:
        study = study_of(store)
    except PitbossError as error:
        problems.append(f"What is expected cannot be told: {error.what}")
        return [_unknown(store, kind) for kind in _kinds(store)]
    return _expected_steps(study, store)


def _summary(store: Store) -> dict[str, Any]:
    """The summary of a finished study; empty if there is none, or something is missing since."""
    if not (store.path / SUMMARY).is_file():
        return {}
    summary: dict[str, Any] = store.read_json(SUMMARY)
    counted: Counter[str] = Counter()
    for found in summary["experiments"].values():
        for kind, step in found["steps"].items():
            counted[kind] += step["parts"]["actual"]
    whole = all(len(store.refs(kind)) >= parts for kind, parts in counted.items())
    return summary if summary["complete"] and whole else {}


def _expected_steps(study: Study, store: Store) -> list[Step]:
    from pitboss.experiments.summary import each_expected  # loads torch

    steps: list[Step] = []
    for experiment, ask in each_expected(study, store).items():
        try:
            steps += [_step(store, expected) for expected in ask()]
        except PitbossError as error:
            steps.append(Step(experiment, "", 0, None, 0, None, None, None, note=error.what))
    return steps


def _step(store: Store, expected: Expected) -> Step:
    keys = set(expected.keys)
    records = [r for key in sorted(keys) if (r := store.record(expected.kind, key))]
    rows = sum(record.ref.rows for record in records)
    rate = _rate(records)
    if expected.rows is not None:
        rest: float | None = expected.rows - rows
    else:
        each = rows / len(records) if records else None
        rest = None if each is None else each * (len(keys) - len(records))
    left = 0.0 if len(records) >= len(keys) else None
    if left is None and rate and rest is not None:
        left = max(0.0, rest) / rate
    return Step(
        expected.experiment, expected.kind, len(records), len(keys), rows, expected.rows, rate, left
    )


def _unknown(store: Store, kind: str) -> Step:
    records = store.records(kind)
    rows = sum(record.ref.rows for record in records)
    experiment = str(records[0].facts.get("experiment", "")) if records else ""
    return Step(experiment, kind, len(records), None, rows, None, _rate(records), None)


def _rate(records: Sequence[Record]) -> float | None:
    """Rows a second between the start and the end of the newest parts."""
    timed = [r for r in records if "started" in r.facts and "finished" in r.facts]
    newest = sorted(timed, key=lambda r: float(r.facts["finished"]))[-RECENT:]
    if not newest:
        return None
    began = min(float(r.facts["started"]) for r in newest)
    seconds = float(newest[-1].facts["finished"]) - began
    return round(sum(r.ref.rows for r in newest) / seconds, 3) if seconds > 0 else None


def _lanes(records: Sequence[Record], moment: float) -> tuple[Lane, ...]:
    by_lane: dict[str, list[Record]] = {}
    units: dict[str, Record] = {}  # of the tables that one unit leaves, the first counts
    for record in sorted(records, key=lambda r: list(KINDS).index(r.ref.kind)):
        units.setdefault(record.ref.key, record)
    for record in units.values():
        if "finished" in record.facts:
            name = str(record.facts.get("lane") or record.facts.get("device") or "unknown")
            by_lane.setdefault(name, []).append(record)
    made = []
    for name, own in sorted(by_lane.items()):
        newest = max(own, key=lambda r: float(r.facts["finished"]))
        experiment = str(newest.facts.get("experiment", ""))
        same = [
            r
            for r in own
            if r.facts.get("experiment") == experiment and r.ref.kind == newest.ref.kind
        ]
        made.append(
            Lane(
                name,
                experiment,
                len(own),
                sum(r.ref.rows for r in own),
                _rate(same),
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


def _share(step: Step) -> float:
    if step.complete:
        return 1.0
    if step.rows_expected:
        return min(1.0, step.rows / step.rows_expected)
    return step.parts / step.parts_expected if step.parts_expected else 0.0


def _kinds(store: Store) -> list[str]:
    folder = store.path / "records"
    return sorted(path.name for path in folder.iterdir() if path.name != "final")
