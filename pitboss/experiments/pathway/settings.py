"""Exp1 in a study file: how the decision forms, layer by layer and round by round."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.games.conditions import Condition
from pitboss.studies.conditions import ConditionGroup, conditions_of, prompt_exists_for
from pitboss.studies.experiment import Counted, ExperimentSettings
from pitboss.studies.fields import (
    Alias,
    ChoicePrompt,
    ConditionKeys,
    Count,
    GamePrompt,
    Gate,
    Layers,
    ReaderName,
    unique,
)
from pitboss.studies.sampling import Sampling, refuse_greedy_retries

if TYPE_CHECKING:
    from pitboss.studies.model import Study

ANSWER = "\nFinal Decision:"
"""The line of the answer that the logit lens opens behind a prompt that asks to reason first."""

GROUPINGS = ("game", "state")
"""What is held out when a decision is decoded: whole games, or their prompts as well."""

ATTRIBUTION_WIDTH = 256
"""Rows of every matrix product of the attribution: a scene has some hundred active features in a
layer."""


class PathwaySettings(ExperimentSettings):
    """Exp1: which features carry the decision, layer by layer and round by round."""

    flow: ClassVar[str] = "pathway"
    carried_out_by: ClassVar[str] = "pitboss.experiments.pathway.experiment:Pathway"
    number: ClassVar[str] = "Exp1"
    own_prompts: ClassVar[bool] = True
    counted: ClassVar[Counted | None] = Counted("games")

    kind: Literal["pathway"]

    model: Alias
    """Which model plays."""

    prompt: GamePrompt = "exp0/planned"
    """Which prompt text the player sees."""

    conditions: ConditionGroup | ConditionKeys
    """Conditions, played in turn until both quotas are filled; a list, all, fixed or variable."""

    bankruptcies: Count = 25
    """Games that end in bankruptcy to collect."""

    stops: Count = 25
    """Games that end in a voluntary stop to collect."""

    max_games: Count = 1000
    """Games after which collecting ends even if a quota is short; the shortfall is reported."""

    batch: Annotated[int, Field(ge=1, le=4096)] = 64
    """Games that are played together."""

    max_rounds: Count = 100
    """Rounds after which a game ends without bankruptcy or stop."""

    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a decision is asked again after a response without a playable decision."""

    layers: Layers
    """Decoder blocks whose activations are kept at every round, counted from 0."""

    gate: Gate = "sae_lens"
    """Activation threshold of the SAEs, as in the selection."""

    top_features: Count = 20
    """Features shown per layer: those that differ most between stop and bet."""

    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Parts that the games are dealt into to see how well a decision can be decoded: what is fitted
    on the others is scored on each."""

    residual: bool = True
    """Decode from the residual stream itself too, besides the SAEs' activations."""

    scenes: Annotated[list[ChoicePrompt], AfterValidator(unique)] = ["exp2/safe", "exp2/risky"]
    """Scenes whose decision is attributed to the features of each layer, to first order and by
    setting each to 0; empty for none."""

    reader: ReaderName = "menu"
    """How responses are read."""

    full_response: bool = False
    """Let a response go on after its decision is certain, as in the games."""

    sampling: Sampling = Sampling(max_new_tokens=1024, min_new_tokens=10)
    """How responses are drawn."""

    @model_validator(mode="after")
    def _consistent(self) -> "PathwaySettings":
        refuse_greedy_retries(self.sampling, self.retries)
        prompt_exists_for(self.prompt, self.resolved_conditions)
        if self.max_games < self.bankruptcies + self.stops:
            raise ValueError(
                f"max_games ({self.max_games}) is below the quotas "
                f"({self.bankruptcies} + {self.stops})"
            )
        return self

    @property
    def inputs(self) -> list[str]:
        """What decisions are decoded from."""
        return ["baseline", "sae", *(["residual"] if self.residual else [])]

    @property
    def resolved_conditions(self) -> tuple[Condition, ...]:
        """The conditions to play, in the order they are taken in turn."""
        return conditions_of(self.conditions)

    def sae_layers(self, study: "Study") -> dict[str, list[int]]:
        return {self.model: self.layers}
