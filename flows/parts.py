"""A campaign's parts: which flow runs on which pool, and what has to be finished before.

A simple placement: the pools are those of the study's floor section.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from pitboss.studies.model import Study


@dataclass(frozen=True)
class Part:
    """One flow run of a campaign.

    Attributes:
        name: Readable and unique within the campaign.
        flow: Flow to run.
        pool: Work pool, which is also the deployment's name.
        parameters: The run's parameters, the study excepted.
        needs: Names of the parts that must be complete before.
        after: Names of the parts that must have ended before, well or badly.
        elastic: Shares its work with the other elastic parts of the same flow, each on its pool:
            they join and leave as their pools allow, and one that completes has seen all finished.
    """

    name: str
    flow: str
    pool: str
    parameters: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    elastic: bool = False

    @property
    def deployment(self) -> str:
        return f"{self.flow}/{self.pool}"


def until_patching(study: Study) -> list[Part]:
    """Games of every model, the pathway beside them, features after the games, then patching.

    Each lane of patching joins when nothing else is left to run on its pool. Where patching
    confirms what a screening finds, it needs the screening first.
    """
    floor = study.floor
    games = [
        Part(f"games {alias}", "games", floor.games[alias], {"model": alias})
        for alias in study.games.models
    ]
    features = [
        Part(
            f"features {alias}",
            "features",
            floor.features[alias],
            {"model": alias},
            needs=(f"games {alias}",),
        )
        for alias in study.features.models
    ]
    pathway = Part("pathway", "pathway", floor.pathway)
    screening = [_screening(study)] if study.patching.screen else []
    others = [*games, pathway, *features, *screening]
    needed = f"features {study.patching.model}" if not screening else "screening"
    patching = [
        Part(
            f"patching {shard + 1}/{len(floor.patching)}",
            "patching",
            pool,
            {"shard": shard, "shards": len(floor.patching)},
            needs=(needed,),
            after=tuple(part.name for part in others if part.pool == pool),
            elastic=True,
        )
        for shard, pool in enumerate(floor.patching)
    ]
    return [*others, *patching]


def after_effects(study: Study) -> list[Part]:
    """The causal features asked again, their words, whole games under their patches, and a
    screening that patching does not wait for.
    """
    words = Part("words", "words", study.floor.words)
    parts = [*_confirmation(study), words, *_persistent(study)]
    if study.screening is None or study.patching.screen:
        return parts
    return [*parts, replace(_screening(study), needs=())]


def _confirmation(study: Study) -> list[Part]:
    """The lanes that share what is asked again, if the study confirms what it found."""
    if study.patching.confirmation is None:
        return []
    pools = study.floor.patching
    return [
        Part(
            f"confirmation {shard + 1}/{len(pools)}",
            "confirmation",
            pool,
            {"shard": shard, "shards": len(pools)},
            elastic=True,
        )
        for shard, pool in enumerate(pools)
    ]


def _persistent(study: Study) -> list[Part]:
    """The lanes that share the games under patches that stay, if the study has any."""
    if study.persistent is None:
        return []
    pools = study.floor.persistent or study.floor.patching
    return [
        Part(
            f"persistent {shard + 1}/{len(pools)}",
            "persistent",
            pool,
            {"shard": shard, "shards": len(pools)},
            elastic=True,
        )
        for shard, pool in enumerate(pools)
    ]


def _screening(study: Study) -> Part:
    assert study.screening is not None  # patching.screen needs the section
    pool = study.floor.screening or study.floor.patching[0]
    return Part("screening", "screening", pool, needs=(f"features {study.screening.model}",))
