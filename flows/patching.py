"""Exp2: is a feature causal? Set it to each group's mean while the model answers, and count."""

from typing import Any

from prefect import State, flow

from flows.parameters import Shard, Shards, StudyPath, run_name
from flows.share import share
from pitboss.experiments.patching import experiment
from pitboss.experiments.runtime.quality import Gate
from pitboss.experiments.runtime.unit import Unit
from pitboss.floor.locks.claims import in_turn
from pitboss.studies.model import Study
from tasks.artifacts import Progress
from tasks.model import load_if_needed
from tasks.patch import feature_chunk, show_checkpoint
from tasks.policies import FLOW, unless_stored
from tasks.study import begin


@flow(name="patching", flow_run_name=run_name, **FLOW)
def patching(
    study: StudyPath = "studies/demo.yaml", shard: Shard = 0, shards: Shards = 1
) -> State[Any] | None:
    """Exp2: the selected features, patched to their safe and risky values, shared among lanes.

    Needs the feature bank. The baseline is drawn once and shared by all features; each chunk of at
    most 100 features of one layer is stored as one part, followed by a checkpoint table, and so are
    the controls: own values and reconstructions first, random features and directions last. Lanes
    may join and leave at any time: whoever is free takes the next chunk that nobody works on, and a
    run ends when all chunks are finished, by whomever, or when its pool is paused. It stops where
    too few responses of the baseline state a decision (the study's quality section).

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
        shard: With which share of the chunks this run begins, counted from 0. After that it takes
            whatever the others have not begun.
        shards: Into how many shares the chunks are dealt: the number of lanes at work.
    """
    settings, store = begin(study)
    baseline, *chunks = experiment.work(settings, store)
    work = [baseline, *in_turn(chunks, shard, shards)]
    gate = Gate(settings, store, "patching without a patch", "trials")
    gate.follow([baseline])
    load_if_needed(settings, settings.patching.model, work, store)
    key = f"{settings.name}-patching-{shard}-of-{shards}-progress"
    bar = Progress(key, "Chunks finished by all lanes, the baseline included", len(work))
    for done in [unit for unit in (work[0], *chunks[shard::shards]) if unit.ref(store)]:
        unless_stored(feature_chunk, settings, store, done)  # seen as Cached
        show_checkpoint(settings, done)

    def finished(study: Study, unit: Unit) -> None:
        show_checkpoint(study, unit)
        gate.follow([baseline])  # which another lane may have drawn meanwhile

    return share(feature_chunk, settings, store, work, bar, finished)
