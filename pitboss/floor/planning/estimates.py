"""A study's jobs: footprints by the engine's memory model, durations by pilots.

What no pilot timed on a kind of GPU takes the plan's figure, where one is given, and says so.
"""

from collections.abc import Callable, Iterable, Sequence

from pitboss.floor.planning.footprints import footprint
from pitboss.floor.planning.jobs import ANY, Job, Patching, Speed, Work
from pitboss.floor.planning.pilots import PilotRecord, newest
from pitboss.floor.planning.stated import PLAN, Stated
from pitboss.studies.announce import announce
from pitboss.studies.model import Study
from pitboss.studies.workload import Work as Workload
from pitboss.studies.workload import runs_a_value

_NAMES = {
    **{"games": "Exp0", "pathway": "Exp1", "patching": "Exp2", "words": "Exp3"},
    "persistent": "Exp5",
}


def study_work(
    study: Study,
    kinds: Iterable[str],
    pilots: Sequence[PilotRecord] = (),
    stated: Stated | None = None,
) -> Work:
    """Everything a study asks for, to be placed on GPUs of these kinds.

    Args:
        kinds: The driver's names of the GPUs.
        stated: The plan's figures for what was not timed, and jobs that run besides the study.
    """
    kinds = sorted(set(kinds))
    jobs, patching = [], None
    for work in announce(study).work:
        if work.experiment == "patching":
            patching = _patching(study, work, kinds, pilots, stated)
            continue
        size, source = footprint(study, work.experiment, work.model)
        jobs.append(
            Job(
                name=name(work.experiment, work.model),
                footprint=size,
                footprint_source=source,
                hours=_hours(study, work, kinds, pilots, stated),
                after=_after(study, work.experiment, work.model),
            )
        )
    assert patching is not None  # every study has this section
    besides = [job for job in stated.work().jobs if job.running_on is not None] if stated else []
    return Work((*besides, *jobs), patching)


def name(experiment: str, model: str) -> str:
    """How people call it: the plan's number where it has one, and the study's name of the model."""
    return f"{_NAMES.get(experiment, experiment)}-{model}"


def _after(study: Study, experiment: str, model: str) -> tuple[str, ...]:
    """Names of what must be over first; games and pathway wait for nothing."""
    first = study.patching.screen  # where patching confirms what the screening finds
    before = {
        "features": "games",
        "screening": "features" if first else "patching",
        "patching": "screening" if first else "features",
        "words": "patching",
        "persistent": "patching",
    }.get(experiment)
    if before is None or (experiment == "features" and study.features.imported is not None):
        return ()
    return (name(before, model),)


def _hours(
    study: Study,
    work: Workload,
    kinds: Sequence[str],
    pilots: Sequence[PilotRecord],
    stated: Stated | None,
) -> dict[str, Speed]:
    found = _measured(study, work, kinds, pilots, lambda per_second: work.runs / per_second / 3600)
    for job in stated.jobs if stated else ():
        if (job.experiment, job.model) == (work.experiment, work.model):
            found[ANY] = Speed(job.hours, PLAN)
    return found


def _patching(
    study: Study,
    work: Workload,
    kinds: Sequence[str],
    pilots: Sequence[PilotRecord],
    stated: Stated | None,
) -> Patching:
    settings = study.patching
    runs = len(settings.values) * runs_a_value(study)  # of one feature
    features = announce(study).patching.features
    seconds = _measured(study, work, kinds, pilots, lambda per_second: runs / per_second)
    if stated:
        seconds[ANY] = Speed(stated.patching.seconds_per_feature, PLAN)
    size, source = footprint(study, "patching", settings.model)
    return Patching(
        name=name("patching", settings.model),
        footprint=size,
        footprint_source=source,
        features=_by_layer(features, study.features.layers),
        seconds=seconds,
        chunk=settings.chunk,
        after=_after(study, "patching", settings.model),
    )


def _by_layer(features: int, layers: Sequence[int]) -> dict[int, int]:
    """As many in each layer as are to be expected: which ones are selected is not known yet."""
    each, rest = divmod(features, len(layers))
    return {layer: each + (n < rest) for n, layer in enumerate(sorted(layers)) if each + (n < rest)}


def _measured(
    study: Study,
    work: Workload,
    kinds: Sequence[str],
    pilots: Sequence[PilotRecord],
    convert: Callable[[float], float],
) -> dict[str, Speed]:
    """The newest pilot's speed on each kind of GPU, converted."""
    model = study.spec(work.model).id
    found: dict[str, Speed] = {}
    for kind in kinds:
        record = newest(pilots, kind, work.experiment, model)
        if record is not None:
            source = f"pilot on {kind}, {record.measured_at[:10]}"
            found[kind] = Speed(convert(record.units_per_second), source)
    return found
