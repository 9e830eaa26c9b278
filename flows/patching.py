"""Exp2: is a feature causal? Set it to each group's mean while the model answers, and count."""

from prefect import flow

from flows.parameters import Shard, Shards, StudyPath, run_name
from pitboss.experiments import patching as experiment
from tasks.artifacts import Progress
from tasks.model import load_if_needed
from tasks.patch import feature_chunk, show_checkpoint
from tasks.policies import FLOW, unless_stored
from tasks.study import begin


@flow(name="patching", flow_run_name=run_name, **FLOW)
def patching(study: StudyPath = "studies/demo.yaml", shard: Shard = 0, shards: Shards = 1) -> None:
    """Exp2: one shard of the selected features, patched to their safe and risky values.

    Needs the feature bank. The baseline is drawn once and shared by all features; each chunk of at
    most 100 features of one layer is stored as one part, followed by a checkpoint table.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
        shard: Which share of the chunks this run does, counted from 0.
        shards: Into how many shares the chunks are dealt. With 1, this run does all of them.
    """
    settings, store = begin(study)
    mine = experiment.shard(experiment.units(settings, store), shard, shards)
    work = [experiment.baseline_unit(settings), *mine]
    load_if_needed(settings, settings.patching.model, work, store)
    key = f"{settings.name}-patching-{shard}-of-{shards}-progress"
    bar = Progress(key, "Chunks, the baseline included", len(work))
    for chunk in work:
        unless_stored(feature_chunk, settings, store, chunk)
        show_checkpoint(settings, chunk)
        bar.advance(note=chunk.slug)
