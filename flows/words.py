"""Exp3: what are the causal features about?"""

from prefect import flow

from flows.parameters import StudyPath, run_name
from pitboss.experiments.words import contexts, descriptions, experiment
from tasks.model import load_if_needed
from tasks.policies import FLOW, unless_stored
from tasks.study import begin
from tasks.words import describe_layer, feature_contexts, word_analysis, word_tables


@flow(name="words", flow_run_name=run_name, **FLOW)
def words(study: StudyPath = "studies/demo.yaml") -> None:
    """Exp3: tokens and words that go with the features found causal.

    Needs the effects of the patching. Decoder rows go through the final norm and the unembedding
    to their top tokens; word rates of safe-value and risky-value responses are compared; stored
    texts are read again for the places where each feature is most active. If the study asks for
    it, a language model then describes each feature.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
    """
    settings, store = begin(study)
    work = experiment.unit(settings, store)
    wanted = [contexts.unit(settings, store)] if settings.words.contexts else []
    load_if_needed(settings, settings.words.model, [work, *wanted], store)
    unless_stored(word_analysis, settings, store, work)
    word_tables(settings, work)
    for unit in wanted:
        unless_stored(feature_contexts, settings, store, unit)
    for layer in descriptions.units(settings, store) if settings.words.describe else []:
        unless_stored(describe_layer, settings, store, layer)
