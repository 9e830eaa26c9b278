"""Exp5: what does a patch do that stays in place through a whole game?"""

from typing import Any

from prefect import State, flow, runtime
from prefect.logging import get_run_logger

from flows.parameters import Shard, Shards, StudyPath, run_name
from pitboss.experiments import persistent as experiment
from pitboss.floor.claims import Queue, in_turn
from tasks.artifacts import Progress
from tasks.lane import asked, left
from tasks.model import DoesNotFit, load_if_needed
from tasks.patch import left_to_others
from tasks.persistent import held_chunk, held_effects
from tasks.policies import FLOW, is_out_of_memory, unless_stored
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
    load_if_needed(settings, alias, work, store)
    key = f"{settings.name}-persistent-{shard}-of-{shards}-progress"
    bar = Progress(key, "Chunks finished by all lanes, the baseline included", len(work))
    for done in [unit for unit in (work[0], *chunks[shard::shards]) if unit.ref(store)]:
        unless_stored(held_chunk, settings, store, done)  # seen as Cached
    queue = Queue(store, work, run=str(runtime.flow_run.id), stop=asked.to_leave)
    while claim := queue.take():
        bar.reach(len(work) - len(queue.left))
        try:
            with claim:
                unless_stored(held_chunk, settings, store, claim.unit)
        except DoesNotFit as error:
            get_run_logger().error("Chunk %s is left to other lanes: %s", claim.unit.slug, error)
            queue.give_up(claim.unit)
        except Exception as error:
            if not is_out_of_memory(error):
                raise  # else taken again, here with fewer rows at once or by another lane
    if queue.stopped:
        return left(queue.stopped, len(queue.left))
    left_to_others(queue.given_up)
    bar.reach(len(work))
    held_effects(settings)
    return None
