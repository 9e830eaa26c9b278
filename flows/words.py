"""Exp3: what are the causal features about?"""

from prefect import flow

from flows.parameters import StudyPath, run_name
from pitboss.experiments import words as experiment
from tasks.model import load_if_needed
from tasks.policies import FLOW, unless_stored
from tasks.study import begin
from tasks.words import word_analysis, word_tables


@flow(name="words", flow_run_name=run_name, **FLOW)
def words(study: StudyPath = "studies/demo.yaml") -> None:
    """Exp3: tokens and words that go with the features found causal.

    Needs the effects of the patching. Decoder rows go through the final norm and the unembedding
    to their top tokens; word rates of safe-value and risky-value responses are compared.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
    """
    settings, store = begin(study)
    work = experiment.unit(settings, store)
    load_if_needed(settings, settings.words.model, [work], store)
    unless_stored(word_analysis, settings, store, work)
    word_tables(settings, work)
