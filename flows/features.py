"""Which SAE features differ between games that end bankrupt and games that end in a stop?"""

from prefect import flow

from flows.parameters import ModelAlias, StudyPath, chosen, run_name
from pitboss.experiments.selection import experiment
from tasks.artifacts import Progress
from tasks.model import load_if_needed
from tasks.policies import FLOW, unless_stored
from tasks.sae import feature_selection, sae_extract
from tasks.study import begin


@flow(name="features", flow_run_name=run_name, **FLOW)
def features(study: StudyPath = "studies/demo.yaml", model: ModelAlias = None) -> None:
    """SAE statistics over the games' decision points, and the selection of features.

    Needs all games of the model. Each layer is one part; selection tests all layers at once and
    writes the bank of features that patching uses.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
        model: One model by its name in the study file, such as llama. Empty: all models that the
            study's features section names, one after the other.
    """
    settings, store = begin(study)
    for alias in chosen(model, settings.features.models, "features.models"):
        layers = experiment.units(settings, alias)
        load_if_needed(settings, alias, layers, store)
        bar = Progress(f"{settings.name}-features-{alias}-progress", "Layers", len(layers))
        for layer in layers:
            unless_stored(sae_extract, settings, store, layer)
            bar.advance(note=layer.slug)
        feature_selection(settings, alias)
