"""What a study would do, found out without doing anything of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pitboss.errors import PitbossError
from pitboss.experiments.announce import Announcement, announce
from pitboss.experiments.preflight import preflight
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.speeds import Speed, measured
from pitboss.floor.planning.footprints import footprint
from pitboss.studies.workload import Workload


@dataclass(frozen=True)
class Step:
    """One experiment on one model, as it would run.

    Attributes:
        reads: The experiments that must be finished before.
        memory: Bytes of a device that it takes.
        minutes: As long as the same kind took before for so many runs; None where nothing tells.
        told_by: Which study tells the minutes, and on which device it ran.
    """

    experiment: str
    model: str
    reads: tuple[str, ...]
    runs: int
    tokens: int
    bytes: int
    memory: int
    minutes: float | None
    told_by: str


@dataclass(frozen=True)
class DryRun:
    """A study, its steps in order, and what keeps it from running here.

    Attributes:
        steps: In the order in which they can run.
        notes: What of the plan cannot be met, and what to know.
        problems: Why it cannot run on this machine as it is; empty if it can.
    """

    study: str
    fingerprint: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)


def dry_run(plan: Plan, results: Path) -> DryRun:
    """Look at everything that can be known before a start: nothing is loaded or written.

    Args:
        results: Folder of all results, whose finished studies tell how long things take.
    """
    announced: Announcement = announce(plan)
    speeds = measured(results) if results.is_dir() else {}
    problems: list[str] = []
    try:
        preflight(plan, results)
    except PitbossError as error:
        problems.append(str(error))
    return DryRun(
        plan.study.name,
        announced.fingerprint,
        tuple(_step(plan, work, speeds) for work in announced.work),
        announced.notes,
        tuple(problems),
    )


def _step(plan: Plan, work: Workload, speeds: Mapping[tuple[str, str], Speed]) -> Step:
    study = plan.study
    speed = speeds.get((work.kind, study.models[work.model].id))
    return Step(
        work.experiment,
        work.model,
        tuple(sorted(study.reads(work.experiment))),
        work.runs,
        work.tokens,
        work.bytes,
        footprint(study, work)[0],
        None if speed is None else speed.seconds * work.runs / 60,
        "" if speed is None else f"{speed.study} on {speed.device or 'an unnamed device'}",
    )
