"""A study's experiments on the GPUs that a person approved."""

from pitboss.floor.planning.decision import Decision
from pitboss.floor.planning.estimates import name
from pitboss.studies.model import Study


def seated(study: Study, decision: Decision) -> Study:
    """The study with every experiment on the work pools of the approved GPUs.

    The option said for each experiment on which GPU it runs; only the patching has several.
    """

    def pool(experiment: str, model: str) -> str:
        return f"gpu-{decision.gpu_of(name(experiment, model))}"

    floor = study.floor.model_copy(
        update={
            "games": {alias: pool("games", alias) for alias in study.games.models},
            "features": {alias: pool("features", alias) for alias in study.features.models},
            "pathway": pool("pathway", study.pathway.model),
            "screening": study.screening and pool("screening", study.screening.model),
            "patching": [f"gpu-{index}" for index in decision.gpus],
            "persistent": None,  # the pools of the patching
            "words": pool("words", study.words.model),
        }
    )
    return study.model_copy(update={"floor": floor})
