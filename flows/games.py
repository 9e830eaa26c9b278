"""Exp0: how do models gamble, in each condition of the prompt?"""

from prefect import flow

from flows.parameters import ModelAlias, StudyPath, chosen, run_name
from pitboss.experiments.games import experiment
from pitboss.experiments.runtime.quality import Gate
from tasks.artifacts import Progress
from tasks.game import game_batch, game_outcomes, played
from tasks.model import load_if_needed
from tasks.policies import FLOW
from tasks.study import begin


@flow(name="games", flow_run_name=run_name, **FLOW)
def games(study: StudyPath = "studies/demo.yaml", model: ModelAlias = None) -> None:
    """Exp0: slot machine games of one model in the study's conditions.

    Each batch of games is stored as one part; run again, finished batches are not played twice. It
    stops where too few responses state a decision (the study's quality section).

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
        model: One model by its name in the study file, such as llama. Empty: all models that the
            study's games section names, one after the other.
    """
    settings, store = begin(study)
    for alias in chosen(model, settings.games.models, "games.models"):
        batches = experiment.units(settings, alias)
        load_if_needed(settings, alias, batches, store)
        bar = Progress(f"{settings.name}-games-{alias}-progress", "Game batches", len(batches))
        gate = Gate(settings, store, f"games {alias}")
        for batch in played(game_batch, settings, store, batches, gate):
            bar.advance(note=batch.slug)
        game_outcomes(settings, alias)
