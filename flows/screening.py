"""Exp2's question without sampling: which features change what the first token decides?"""

from prefect import flow

from flows.parameters import StudyPath, run_name
from pitboss.experiments.screening import experiment
from tasks.artifacts import Progress
from tasks.model import load_if_needed
from tasks.policies import FLOW, unless_stored
from tasks.screening import rank_features, screened_chunk, show_checkpoint
from tasks.study import begin


@flow(name="screening", flow_run_name=run_name, **FLOW)
def screening(study: StudyPath = "studies/demo.yaml") -> None:
    """What every patch does to the first token's decision, computed instead of sampled.

    Needs the selection of features. Each chunk of features of one layer is stored as one part,
    followed by a checkpoint table; then all features are ranked.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on, and has a screening section.
    """
    settings, store = begin(study)
    work = experiment.units(settings, store)
    load_if_needed(settings, experiment.section(settings).model, work, store)
    bar = Progress(f"{settings.name}-screening-progress", "Chunks", len(work))
    for chunk in work:
        unless_stored(screened_chunk, settings, store, chunk)
        show_checkpoint(settings, chunk)
        bar.advance(note=chunk.slug)
    rank_features(settings)
