"""Which work pools carry out what: by a person's decision, by the study file, or all there are."""

from collections.abc import Sequence

from pitboss.errors import BadInput
from pitboss.floor.planning.decision import Decision
from pitboss.floor.planning.estimates import Part, job_names
from pitboss.studies.model import Pools, Study


def pool_of(gpu: int) -> str:
    """The work pool whose worker runs on a GPU."""
    return f"gpu-{gpu}"


def seated(study: Study, decision: Decision) -> Study:
    """The study with every experiment on the work pools of the approved GPUs.

    The option said for each experiment on which GPU it runs; those that several workers may share
    all have the GPUs of the one that it spread.
    """
    names, spread = job_names(study), [pool_of(gpu) for gpu in decision.gpus]
    pools: dict[str, Pools] = {}
    for name, settings in study.experiments.items():
        if settings.elastic and spread:
            pools[name] = spread
        else:
            models = study.aliases_of(name)
            pools[name] = {m: pool_of(decision.gpu_of(names[name, m])) for m in models}
    floor = study.floor.model_copy(update={"pools": pools})
    return study.model_copy(update={"floor": floor})


def assign(study: Study, workers: Sequence[str]) -> dict[Part, list[str]]:
    """What each part of a study runs on.

    A part runs on the pools that the study names for it. Where it names none, a part that several
    workers may share has them all, and the others are dealt to one worker each, in turn, so that
    different models' parts fall on different workers.

    Args:
        workers: Names of the work pools whose workers are online.

    Raises:
        BadInput: There is no worker, or none for a pool that the study names.
    """
    if not workers:
        raise BadInput(
            "No worker is online.",
            where=f"study {study.name}",
            next="Start the workers with `make up`.",
        )
    dealt, assigned = 0, {}
    for name in study.in_order():
        for model in study.aliases_of(name):
            pools = _named(study, name, model)
            if pools is None and study.experiments[name].elastic:
                pools = list(workers)
            elif pools is None:
                pools = [workers[dealt % len(workers)]]
                dealt += 1
            _require(study, name, pools, workers)
            assigned[name, model] = pools
    return assigned


def _named(study: Study, name: str, model: str) -> list[str] | None:
    """The pools that the study names for a part."""
    pools = study.floor.pools.get(name)
    if isinstance(pools, dict):
        pools = pools[model]
    return [pools] if isinstance(pools, str) else pools


def _require(study: Study, name: str, pools: Sequence[str], workers: Sequence[str]) -> None:
    if missing := [pool for pool in pools if pool not in workers]:
        raise BadInput(
            f"No worker is online for {', '.join(missing)}, which carries out {name}; there are "
            f"{', '.join(workers)}.",
            where=f"study {study.name}, floor.pools.{name}",
            next="Start that worker, name another pool, or leave the section out to use them all.",
        )
