"""Where the experiments go that run on one GPU each, and when each GPU is free again.

The rule: empty GPUs first, then GPUs on which a tenant leaves a safe margin; of these the one where
the job ends first, and before that those where it follows no job of unknown duration. One job of
ours on a GPU at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pitboss.floor.memory.gpus import Survey
from pitboss.floor.memory.thresholds import margin, occupancy, safety, sharers
from pitboss.floor.planning.jobs import ALLOWANCE, ANY, UNKNOWN, Job, Speed
from pitboss.floor.planning.placement import Placement
from pitboss.formats import gb


@dataclass(frozen=True)
class End:
    """When something is over, in hours from now.

    Attributes:
        expected: As expected.
        relied: As others may rely on: half as long again where nobody measured it.
        untimed: Jobs of unknown duration that it depends on; it is then or later.
    """

    expected: float = 0.0
    relied: float = 0.0
    untimed: frozenset[str] = frozenset()

    def then(self, name: str, duration: Speed) -> "End":
        """After a job more."""
        allowance = 1.0 if duration.measured else ALLOWANCE
        return End(
            self.expected + duration.value,
            self.relied + duration.value * allowance,
            self.untimed if duration.known else self.untimed | {name},
        )

    @staticmethod
    def of_all(ends: "Iterable[End]") -> "End":
        ends = [End(), *ends]
        return End(
            max(end.expected for end in ends),
            max(end.relied for end in ends),
            frozenset().union(*(end.untimed for end in ends)),
        )


@dataclass(frozen=True)
class Placed:
    """The placed jobs.

    Attributes:
        running: Jobs that already run, by GPU.
        ends: When each job is over.
        unplaced: Sentences on jobs that found no place, or whose duration nobody knows.
    """

    placements: tuple[Placement, ...]
    running: Mapping[int, Job]
    ends: Mapping[str, End]
    unplaced: tuple[str, ...]

    def on(self, gpu: int) -> tuple[str, ...]:
        """Names of the jobs placed on a GPU."""
        return tuple(p.job for p in self.placements if p.gpu == gpu)

    def all_over(self, names: Iterable[str]) -> End:
        """When all of these jobs are over."""
        return End.of_all(self.ends[name] for name in names)


def place(survey: Survey, jobs: tuple[Job, ...], growth: Mapping[int, int]) -> Placed:
    """Give every job a GPU, in the order in which they are listed.

    Args:
        growth: Bytes by GPU that tenants may grow by.
    """
    gpus = {gpu.index: End() for gpu in survey.gpus}
    ends: dict[str, End] = {}
    running: dict[int, Job] = {}
    placements: list[Placement] = []
    unplaced: list[str] = []
    for job in jobs:
        if job.running_on is not None:
            gpu = survey.gpu(job.running_on)
            duration = job.on(gpu.name)
            if duration is None:
                unplaced.append(f"{job.name} runs on GPU {gpu.index}; when it ends is not known.")
                duration = Speed(float("inf"), "unknown")
            running[gpu.index], ends[job.name] = job, End().then(job.name, duration)
            continue
        if not any(job.on(gpu.name) for gpu in survey.gpus):
            kinds = ", ".join(sorted({gpu.name for gpu in survey.gpus}))
            unplaced.append(
                f"Nobody timed {job.name} on {kinds}, so how long it takes is not known: run a "
                "pilot."
            )
            job = replace(job, hours={ANY: UNKNOWN})
        if missing := [name for name in job.after if name not in ends]:
            unplaced.append(f"{job.name} waits for {', '.join(missing)}, which has no place.")
            continue
        ready = End.of_all(ends[name] for name in job.after)
        free = {index: End.of_all((gpus[index], ready)) for index in gpus if index not in running}
        ways = _ways(survey, job, growth, free)
        if not ways:
            size = gb(job.footprint)
            unplaced.append(f"{job.name} has no place: it takes {size}; it is left out.")
            continue
        best = min(ways, key=lambda w: (bool(w.sharers), len(w.untimed), w.end_h, w.gpu))
        gpus[best.gpu] = ends[job.name] = free[best.gpu].then(job.name, best.speed)
        placements.append(best)
    return Placed(tuple(placements), running, ends, tuple(unplaced))


def _ways(
    survey: Survey, job: Job, growth: Mapping[int, int], free: Mapping[int, End]
) -> list[Placement]:
    """The job on every GPU that is free at some time and leaves enough to its tenants."""
    found = []
    for gpu in survey.gpus:
        duration = job.on(gpu.name)
        left = margin(gpu, job.footprint, growth.get(gpu.index, 0))
        needed = ("safe", "marginal") if occupancy(gpu) == "free" else ("safe",)
        if duration is None or gpu.index not in free or safety(left) not in needed:
            continue
        start = free[gpu.index]
        found.append(
            Placement(
                gpu=gpu.index,
                opens=start.expected,
                margin=left,
                speed=duration,
                waits_for=job.after,
                sharers=sharers(gpu),
                untimed=tuple(sorted(start.untimed)),
                job=job.name,
                footprint=job.footprint,
                start_h=start.expected,
                end_h=start.expected + duration.value,
            )
        )
    return found
