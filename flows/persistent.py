"""Exp5: what does a patch do that stays in place through a whole game?"""

from typing import Any

from prefect import State, flow

from flows.parameters import Shard, Shards, StudyPath, run_name
from flows.share import share
from pitboss.experiments.clamped_games import experiment
from pitboss.experiments.runtime.quality import Gate
from pitboss.experiments.runtime.unit import Unit
from pitboss.floor.locks.claims import in_turn
from pitboss.studies.model import Study
from tasks.artifacts import Progress
from tasks.model import load_if_needed
from tasks.persistent import held_chunk, held_effects
from tasks.policies import FLOW, unless_stored
from tasks.study import begin


@flow(name="persistent", flow_run_name=run_name, **FLOW)
def persistent(
    study: StudyPath = "studies/demo.yaml", shard: Shard = 0, shards: Shards = 1
) -> State[Any] | None:
    """Exp5: whole games under a patch that stays, shared among lanes.

    Needs the effects of the patching, or features that the study names. The games without a patch
    are played once for all features; each chunk of features of one layer is stored as one part,
    with the games of their controls. Lanes may join and leave at any time, as in patching; when all
    games are played, every arm is tested against the games without a patch.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on, and has a persistent section.
        shard: With which share of the chunks this run begins, counted from 0. After that it takes
            whatever the others have not begun.
        shards: Into how many shares the chunks are dealt: the number of lanes at work.
    """
    settings, store = begin(study)
    alias = experiment.section(settings).model
    chunks = experiment.units(settings, store)
    work = [experiment.baseline_unit(settings), *in_turn(chunks, shard, shards)]
    gate = Gate(settings, store, "persistent without a patch")
    gate.follow(work[:1])
    load_if_needed(settings, alias, work, store)
    key = f"{settings.name}-persistent-{shard}-of-{shards}-progress"
    bar = Progress(key, "Chunks finished by all lanes, the baseline included", len(work))
    for done in [unit for unit in (work[0], *chunks[shard::shards]) if unit.ref(store)]:
        unless_stored(held_chunk, settings, store, done)  # seen as Cached

    def finished(study: Study, unit: Unit) -> None:
        gate.follow(work[:1])  # which another lane may have played meanwhile

    if (stopped := share(held_chunk, settings, store, work, bar, finished)) is not None:
        return stopped
    held_effects(settings)
    return None
