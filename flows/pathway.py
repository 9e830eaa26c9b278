"""Exp1: how does the decision form, layer by layer and round by round?"""

from prefect import flow

from flows.parameters import StudyPath, run_name
from pitboss.experiments.pathway import attribution, decoding, experiment
from pitboss.experiments.runtime.quality import Gate
from tasks.artifacts import Progress
from tasks.game import pathway_analysis, pathway_batch, played
from tasks.model import load_if_needed
from tasks.pathway import pathway_attribution, pathway_decoding, pathway_reading
from tasks.policies import FLOW, unless_stored
from tasks.study import begin


@flow(name="pathway", flow_run_name=run_name, **FLOW)
def pathway(study: StudyPath = "studies/demo.yaml") -> None:
    """Exp1: games until enough bankruptcies and stops are in, with activations of each round.

    Batches are played until both quotas are filled or the study's cap is reached; what is short
    then is reported, not hidden. It stops where too few responses state a decision (the study's
    quality section). Then the decision is decoded from each layer, read through the
    logit lens, and attributed to features (docs/pathway.md).

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
    """
    settings, store = begin(study)
    wanted = settings.pathway.bankruptcies + settings.pathway.stops
    bar = Progress(f"{settings.name}-pathway-progress", "Games that count", wanted)
    gate = Gate(settings, store, "pathway")
    if (first := experiment.next_unit(settings, store)) is not None:
        load_if_needed(settings, settings.pathway.model, [first], store)
    for _ in played(pathway_batch, settings, store, experiment.batches(settings, store), gate):
        now = experiment.progress(settings, store)
        bar.reach(now.bankruptcies + now.stops, note=f"{now.games} games played")
    pathway_analysis(settings)
    decoded = decoding.unit(settings, store)
    load_if_needed(settings, settings.pathway.model, [decoded], store)
    unless_stored(pathway_decoding, settings, store, decoded)
    if attributed := attribution.unit(settings):
        load_if_needed(settings, settings.pathway.model, [attributed], store)
        unless_stored(pathway_attribution, settings, store, attributed)
    pathway_reading(settings)
