"""Where the experiments go that run on one GPU each, and when each GPU is free again.

The rule: empty GPUs first, and of these the one where the job ends first; then GPUs on which a
tenant leaves a safe margin. One job of ours on a GPU at a time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pitboss.floor.memory.gpus import Gpu, Survey
from pitboss.floor.memory.thresholds import margin, occupancy, others, safety
from pitboss.floor.planning.jobs import ALLOWANCE, ANY, UNKNOWN, Job, Speed
from pitboss.floor.planning.placement import Placement


@dataclass(frozen=True, slots=True)
class House:
    """The placed jobs.

    Attributes:
        running: Jobs that already run, by GPU.
        relied: Hours from now after which a job is taken to be over: its end as expected, and half
            as long again where nobody measured it.
        untimed: By job, those jobs of unknown duration that its end depends on; it ends then or
            later.
        unplaced: Sentences on jobs that found no place, or whose duration nobody knows.
    """

    placements: tuple[Placement, ...]
    running: Mapping[int, Job]
    relied: Mapping[str, float]
    untimed: Mapping[str, frozenset[str]]
    unplaced: tuple[str, ...]

    def on(self, gpu: int) -> tuple[str, ...]:
        """Names of the jobs placed on a GPU."""
        return tuple(p.job for p in self.placements if p.gpu == gpu)


@dataclass(slots=True)
class _Clock:
    """When something is over: as expected, and as others may rely on, or later: see `untimed`."""

    expected: float = 0.0
    relied: float = 0.0
    untimed: frozenset[str] = frozenset()

    def then(self, name: str, duration: Speed) -> "_Clock":
        """After a job more."""
        allowance = 1.0 if duration.measured else ALLOWANCE
        return _Clock(
            self.expected + duration.value,
            self.relied + duration.value * allowance,
            self.untimed if duration.known else self.untimed | {name},
        )

    @staticmethod
    def all_of(clocks: "Iterable[_Clock]") -> "_Clock":
        """When all of these are over."""
        clocks = [_Clock(), *clocks]
        return _Clock(
            max(clock.expected for clock in clocks),
            max(clock.relied for clock in clocks),
            frozenset().union(*(clock.untimed for clock in clocks)),
        )


def place(survey: Survey, jobs: tuple[Job, ...], growth: Mapping[int, int]) -> House:
    """Give every job a GPU, in the order in which they are listed."""
    gpus = {gpu.index: _Clock() for gpu in survey.gpus}
    over: dict[str, _Clock] = {}
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
            running[gpu.index], over[job.name] = job, _Clock().then(job.name, duration)
            continue
        if not any(job.on(gpu.name) for gpu in survey.gpus):
            kinds = ", ".join(sorted({gpu.name for gpu in survey.gpus}))
            unplaced.append(
                f"Nobody timed {job.name} on {kinds}, so how long it takes is not known: run a "
                "pilot."
            )
            job = replace(job, hours={ANY: UNKNOWN})
        if missing := [name for name in job.after if name not in over]:
            unplaced.append(f"{job.name} waits for {', '.join(missing)}, which has no place.")
            continue
        ready = _Clock.all_of(over[name] for name in job.after)
        found = _best(survey, job, growth, gpus, ready, running)
        if found is None:
            size = f"{job.footprint / 1e9:.1f} GB"
            unplaced.append(f"{job.name} has no place: it takes {size}; it is left out.")
            continue
        gpu, placement, clock = found
        gpus[gpu.index] = over[job.name] = clock
        placements.append(placement)
    relied = {name: clock.relied for name, clock in over.items()}
    untimed = {name: clock.untimed for name, clock in over.items()}
    return House(tuple(placements), running, relied, untimed, tuple(unplaced))


def _best(
    survey: Survey,
    job: Job,
    growth: Mapping[int, int],
    gpus: Mapping[int, _Clock],
    ready: _Clock,
    running: Mapping[int, Job],
) -> tuple[Gpu, Placement, _Clock] | None:
    offers = []
    for gpu in survey.gpus:
        duration, seat = job.on(gpu.name), occupancy(gpu)
        left = margin(gpu, job.footprint, growth.get(gpu.index, 0))
        wanted = safety(left) == "safe" or (seat == "free" and safety(left) == "marginal")
        if duration is None or seat == "full" or not wanted or gpu.index in running:
            continue
        start = _Clock.all_of((gpus[gpu.index], ready))
        clock = start.then(job.name, duration)
        placement = Placement(
            job=job.name,
            gpu=gpu.index,
            layers="",
            start_h=start.expected,
            end_h=clock.expected,
            margin=left,
            footprint=job.footprint,
            speed=duration,
            shared_with=tuple(tenant.label for tenant in gpu.tenants),
            others=others(gpu),
            waits_for=job.after,
            untimed=tuple(sorted(start.untimed)),
        )
        offers.append((seat != "free", clock.expected, gpu.index, (gpu, placement, clock)))
    return min(offers, key=lambda offer: offer[:3])[3] if offers else None
