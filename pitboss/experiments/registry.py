"""Every kind of experiment there is: the only list of them.

A kind is a package beside this file: `settings.py` says what a study file may say of it and which
class carries it out. It is named here and nowhere else.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field

from pitboss.experiments.clamped_games.settings import ClampedGamesSettings
from pitboss.experiments.games.settings import GamesSettings
from pitboss.experiments.patching.settings import ConfirmationSettings, PatchingSettings
from pitboss.experiments.pathway.settings import PathwaySettings
from pitboss.experiments.runtime.experiment import Experiment
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.screening.settings import ScreeningSettings
from pitboss.experiments.selection.settings import SelectionSettings
from pitboss.experiments.words.settings import WordsSettings
from pitboss.store import Store
from pitboss.studies import loading, model
from pitboss.studies.experiment import ExperimentSettings, Name

AnyExperiment = Annotated[
    GamesSettings
    | SelectionSettings
    | PathwaySettings
    | ScreeningSettings
    | PatchingSettings
    | ConfirmationSettings
    | WordsSettings
    | ClampedGamesSettings,
    Field(discriminator="kind"),
]


class Study(model.Study):
    """A study whose experiments are of the kinds that there are."""

    experiments: Annotated[dict[Name, AnyExperiment], Field(min_length=1)]  # type: ignore[assignment]
    """What is done, each under a name of the study's own: any kinds, any number of each."""


def settings_types() -> dict[str, type[ExperimentSettings]]:
    """Kind -> its section of a study file, in the order of the plan."""
    return {kind_of(each): each for each in get_args(get_args(AnyExperiment)[0])}


def kind_of(settings: type[ExperimentSettings]) -> str:
    """What a study file says for `kind`."""
    return str(get_args(settings.model_fields["kind"].annotation)[0])


def experiment_class(settings: type[ExperimentSettings]) -> type[Experiment[Any]]:
    """The class that carries out a kind of experiment, imported when it is asked for."""
    module, name = settings.carried_out_by.split(":")
    found: type[Experiment[Any]] = getattr(import_module(module), name)
    return found


def load_study(path: Path | str) -> Study:
    """Read and validate a study file; see `pitboss.studies.loading.load_study`."""
    return loading.load_study(path, Study)


def parse_study(settings: Mapping[str, Any], *, where: str = "study settings") -> Study:
    """Validate settings that come from elsewhere than a file; same errors as `load_study`."""
    return loading.parse_study(settings, Study, where=where)


def plan_of(
    study: model.Study, store: Store | None, secrets: Mapping[str, str] | None = None
) -> Plan:
    """A study's experiments, bound to its store."""
    used = {each.kind: type(each) for each in study.experiments.values()}
    classes = {kind: experiment_class(settings) for kind, settings in used.items()}
    return Plan(study, store, classes, secrets)
