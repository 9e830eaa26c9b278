"""A study's jobs: footprints by the engine's memory model, durations by pilots.

What no pilot timed on a kind of GPU takes the plan's figure, where one is given, and says so.
"""

from collections.abc import Iterable, Mapping, Sequence

from pitboss.floor.planning.footprints import footprint
from pitboss.floor.planning.jobs import ANY, PLAN, Job, SharedJob, Speed, Work
from pitboss.floor.planning.pilots import PilotRecord, newest
from pitboss.floor.planning.stated import Stated, StatedJob, StatedShared
from pitboss.studies.model import Study
from pitboss.studies.workload import Workload

Part = tuple[str, str]
"""The study's names of an experiment and of a model that it is carried out on."""


def job_names(study: Study) -> dict[Part, str]:
    """How people call each part of a study: the plan's number of the experiment, and the model.

    An experiment without a number goes by its name, as does one whose number another one before it
    has on the same model.
    """
    names: dict[Part, str] = {}
    for name in study.in_order():
        for model in study.aliases_of(name):
            numbered = f"{study.experiments[name].number or name}-{model}"
            taken = numbered in names.values()
            names[name, model] = f"{name}-{model}" if taken else numbered
    return names


def study_work(
    study: Study,
    workloads: Sequence[Workload],
    kinds: Iterable[str],
    pilots: Sequence[PilotRecord] = (),
    stated: Stated | None = None,
) -> Work:
    """Everything a study asks for, to be placed on GPUs of these kinds.

    One experiment is spread over GPUs: of those that several workers may share, and that wait for
    no other such, the one with most runs. The others of them join its workers.

    Args:
        workloads: How much each of its experiments asks for, in the order in which they can run.
        kinds: The driver's names of the GPUs.
        stated: The plan's figures for what was not timed, and jobs that run besides the study.
    """
    kinds, names = sorted(set(kinds)), job_names(study)
    spread = _spread(study, workloads)
    jobs, shared = [], None
    for work in workloads:
        name, after = names[work.experiment, work.model], _after(study, work, names)
        size, source = footprint(study, work)
        model = study.spec(work.model).id
        figures = stated.of(work.experiment, work.model) if stated else None
        if work is spread and work.shared is not None:
            seconds = _measured(work, model, kinds, pilots, work.shared.runs)
            if isinstance(figures, StatedShared):
                seconds[ANY] = Speed(figures.seconds_per_feature, PLAN)
            layers, chunk = dict(work.shared.layers), work.shared.chunk
            shared = SharedJob(name, size, source, layers, seconds, chunk, after=after)
            continue
        hours = _measured(work, model, kinds, pilots, work.runs / 3600)
        if isinstance(figures, StatedJob):
            hours[ANY] = Speed(figures.hours, PLAN)
        joins = study.experiments[work.experiment].elastic
        jobs.append(Job(name, size, source, hours, after, joins=joins and spread is not None))
    besides = [job for job in stated.work().jobs if job.running_on is not None] if stated else []
    return Work((*besides, *jobs), shared)


def _spread(study: Study, workloads: Sequence[Workload]) -> Workload | None:
    """The workload that is spread over GPUs."""
    elastic = {work.experiment for work in workloads if work.shared is not None}
    before: dict[str, set[str]] = {}
    for name in study.in_order():
        reads = study.reads(name)
        before[name] = reads.union(*(before[other] for other in reads))
    first = (w for w in workloads if w.shared and elastic.isdisjoint(before[w.experiment]))
    return max(first, key=lambda work: work.runs, default=None)


def _after(study: Study, work: Workload, names: Mapping[Part, str]) -> tuple[str, ...]:
    """Names of what must be over first: of what it reads, what is of its own model, or else all."""
    found: list[str] = []
    for name in (each for each in study.in_order() if each in study.reads(work.experiment)):
        models = study.aliases_of(name)
        found += [names[name, m] for m in models if m == work.model or work.model not in models]
    return tuple(found)


def _measured(
    work: Workload, model: str, kinds: Sequence[str], pilots: Sequence[PilotRecord], units: float
) -> dict[str, Speed]:
    """Units by the newest pilot's units a second, on each kind of GPU."""
    found = {kind: newest(pilots, kind, work.kind, model) for kind in kinds}
    return {
        kind: Speed(units / pilot.units_per_second, f"pilot on {kind}, {pilot.measured_at[:10]}")
        for kind, pilot in found.items()
        if pilot is not None
    }
