"""The experiments of the plan, each a flow that a person starts on a worker of a GPU."""

from flows.perform import Run, experiment_flow
from pitboss.experiments.clamped_games.settings import ClampedGamesSettings
from pitboss.experiments.games.settings import GamesSettings
from pitboss.experiments.patching.settings import ConfirmationSettings, PatchingSettings
from pitboss.experiments.pathway.settings import PathwaySettings
from pitboss.experiments.registry import settings_types
from pitboss.experiments.screening.settings import ScreeningSettings
from pitboss.experiments.selection.settings import SelectionSettings
from pitboss.experiments.words.settings import WordsSettings

games = experiment_flow(GamesSettings)  # Exp0: how do models gamble, in each condition?
features = experiment_flow(SelectionSettings)  # what differs between bankrupt and stopped games?
pathway = experiment_flow(PathwaySettings)  # Exp1: how does the decision form, layer by layer?
screening = experiment_flow(ScreeningSettings)  # Exp2's question, computed from one token's logits
patching = experiment_flow(PatchingSettings)  # Exp2: is a feature causal?
confirmation = experiment_flow(ConfirmationSettings)  # Exp2, again: in new states, with new noise
words = experiment_flow(WordsSettings)  # Exp3: what are the causal features about?
clamped_games = experiment_flow(ClampedGamesSettings)  # Exp5: what if a patch stays for a game?


def __getattr__(name: str) -> Run:
    """The flow of any other kind of experiment that there is."""
    for settings in settings_types().values():
        if settings.flow == name:
            return experiment_flow(settings)
    raise AttributeError(f"There is no experiment with a flow {name!r}.")
