"""A campaign's parts: which flow runs on which pool, and what has to be finished before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pitboss.floor.planning.pool_assignment import assign
from pitboss.studies.model import Study


@dataclass(frozen=True)
class Part:
    """One flow run of a campaign.

    Attributes:
        name: Readable and unique within the campaign.
        experiment: The study's name of the experiment.
        flow: Flow to run.
        pool: Work pool, which is also the deployment's name.
        parameters: The run's parameters, the study excepted.
        needs: Names of the parts that must be complete before.
        after: Names of the parts that must have ended before, well or badly.
        elastic: Shares its work with the other parts of the same experiment, each on its pool: they
            join and leave as their pools allow, and one that completes has seen all finished.
    """

    name: str
    experiment: str
    flow: str
    pool: str
    parameters: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    elastic: bool = False

    @property
    def deployment(self) -> str:
        return f"{self.flow}/{self.pool}"


def parts_of(study: Study, workers: Sequence[str]) -> list[Part]:
    """Every experiment on every one of its models, each behind all that it reads.

    A part that shares its work joins when nothing else is left to run on its pool that comes before
    it in the study: whoever shares can wait, whoever is alone holds others up.

    Args:
        workers: Names of the work pools that have a worker.

    Raises:
        BadInput: There is no worker, or none on a pool that the study names.
    """
    pools = assign(study, workers)
    made: list[Part] = []
    for name in study.in_order():
        for model in study.aliases_of(name):
            made += _of_model(study, name, model, pools[name, model], made)
    return made


def _of_model(
    study: Study, name: str, model: str, pools: Sequence[str], before: Sequence[Part]
) -> list[Part]:
    settings, models = study.experiments[name], study.aliases_of(name)
    needs = tuple(part.name for part in before if _feeds(study, part, name, model))
    label = f"{name} {model}" if len(models) > 1 else name
    if not settings.elastic:
        parameters = {"experiment": name, "model": model}
        return [Part(label, name, settings.flow, pools[0], parameters, needs)]
    return [
        Part(
            f"{label} {shard + 1}/{len(pools)}",
            name,
            settings.flow,
            pool,
            {"experiment": name, "model": model, "shard": shard, "shards": len(pools)},
            needs,
            after=tuple(p.name for p in before if p.pool == pool and not p.elastic),
            elastic=True,
        )
        for shard, pool in enumerate(pools)
    ]


def _feeds(study: Study, part: Part, name: str, model: str) -> bool:
    """Whether an experiment on a model reads what a part makes: of the same model, where it can."""
    if part.experiment not in study.reads(name):
        return False
    return part.parameters["model"] == model or model not in study.aliases_of(part.experiment)
