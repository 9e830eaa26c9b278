"""Exp2, again: do the features found causal act the same way in new states and with new noise?"""

from typing import Any

from prefect import State, flow

from flows.parameters import Shard, Shards, StudyPath, run_name
from flows.share import share
from pitboss.experiments.patching import confirmation as experiment
from pitboss.floor.locks.claims import in_turn
from tasks.artifacts import Progress
from tasks.model import load_if_needed
from tasks.patch import confirmed, feature_chunk, show_checkpoint
from tasks.policies import FLOW, unless_stored
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
    if (stopped := share(feature_chunk, settings, store, work, bar, show_checkpoint)) is not None:
        return stopped
    confirmed(settings)
    return None
