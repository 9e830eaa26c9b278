"""Exp2, again: do the features found causal act the same way in new states and with new noise?"""

from typing import Any

from prefect import State, flow, runtime
from prefect.logging import get_run_logger

from flows.parameters import Shard, Shards, StudyPath, run_name
from pitboss.experiments import confirmation as experiment
from pitboss.floor.claims import Queue, in_turn
from tasks.artifacts import Progress
from tasks.lane import asked, left
from tasks.model import DoesNotFit, load_if_needed
from tasks.patch import confirmed, feature_chunk, left_to_others, show_checkpoint
from tasks.policies import FLOW, is_out_of_memory, unless_stored
from tasks.study import begin


@flow(name="confirmation", flow_run_name=run_name, **FLOW)
def confirmation(
    study: StudyPath = "studies/demo.yaml", shard: Shard = 0, shards: Shards = 1
) -> State[Any] | None:
    """Exp2, again: the features found causal, in held-out states or with new noise, on all lanes.

    Needs the effects of the patching. Chunks are shared as in patching. When all are finished,
    every candidate is tested in the direction of the discovery, and the findings are gathered.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on, and its patching has a confirmation.
        shard: With which share of the chunks this run begins, counted from 0. After that it takes
            whatever the others have not begun.
        shards: Into how many shares the chunks are dealt: the number of lanes at work.
    """
    settings, store = begin(study)
    experiment.section(settings)
    chunks = experiment.units(settings, store)
    work = in_turn(chunks, shard, shards)
    load_if_needed(settings, settings.patching.model, work, store)
    key = f"{settings.name}-confirmation-{shard}-of-{shards}-progress"
    bar = Progress(key, "Chunks asked again by all lanes", len(work))
    for done in [unit for unit in chunks[shard::shards] if unit.ref(store)]:
        unless_stored(feature_chunk, settings, store, done)  # seen as Cached
    queue = Queue(store, work, run=str(runtime.flow_run.id), stop=asked.to_leave)
    while claim := queue.take():
        bar.reach(len(work) - len(queue.left))
        try:
            with claim:
                unless_stored(feature_chunk, settings, store, claim.unit)
        except DoesNotFit as error:
            get_run_logger().error("Chunk %s is left to other lanes: %s", claim.unit.slug, error)
            queue.give_up(claim.unit)
            continue
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            continue  # taken again, here with fewer rows at once or by another lane
        show_checkpoint(settings, claim.unit)
    if queue.stopped:
        return left(queue.stopped, len(queue.left))
    left_to_others(queue.given_up)
    bar.reach(len(work))
    confirmed(settings)
    return None
