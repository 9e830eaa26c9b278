"""Exp5 in a study file: features that are held at one value through whole games."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.games.conditions import Condition
from pitboss.studies.conditions import ConditionGroup, conditions_of, prompt_exists_for
from pitboss.studies.experiment import Counted, ExperimentSettings, Name, Reads
from pitboss.studies.fields import (
    ConditionKeys,
    Count,
    FeatureIds,
    GamePrompt,
    ReaderName,
    unique,
)
from pitboss.studies.sampling import Sampling, refuse_greedy_retries

POSITIONS: Literal["prompt_last_and_generated"] = "prompt_last_and_generated"
"""Where a clamped feature is patched, round after round."""


class ClampedGamesSettings(ExperimentSettings):
    """Exp5: what a feature does that is held at one value through a whole game."""

    flow: ClassVar[str] = "clamped_games"
    carried_out_by: ClassVar[str] = "pitboss.experiments.clamped_games.experiment:ClampedGames"
    number: ClassVar[str] = "Exp5"
    elastic: ClassVar[bool] = True
    own_prompts: ClassVar[bool] = True
    counted: ClassVar[Counted | None] = Counted("persistent")

    kind: Literal["clamped_games"]

    patching: Annotated[Name, Reads("effects")]
    """The patching whose features are held, at its values."""

    features: Literal["causal"] | FeatureIds = "causal"
    """The features that patching found causal, strongest first, or ids per layer; all of them must
    be among the patched ones."""

    most: Count = 50
    """At most this many features."""

    values: Annotated[
        list[Literal["safe", "risky"]], Field(min_length=1), AfterValidator(unique)
    ] = ["safe", "risky"]
    """Values a feature is held at, as in patching. The same games are also played
    without a patch, once for all features."""

    controls: Annotated[int, Field(ge=0)] = 10
    """How many of the features, from the first, are accompanied by a control: the same patch,
    written along a random direction of the same length."""

    prompt: GamePrompt = "exp0/planned"
    """Which prompt text the player sees; exp5/original is that of the original's Exp5."""

    conditions: ConditionGroup | ConditionKeys = ["variable/BASE"]
    """Prompt conditions such as variable/GMRWP, or all 64, or the 32 of one bet type."""

    repetitions: Count = 30
    """Games in each condition and arm. Games of the same condition and number have the same luck
    and the same noise in all arms."""

    max_rounds: Count = 100
    """Rounds after which a game ends without bankruptcy or stop."""

    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a decision is asked again after a response without a playable decision."""

    reader: ReaderName = "menu"
    """How responses are read."""

    full_response: bool = False
    """Let responses go on after their decision is certain, as in the games."""

    chunk: Annotated[int, Field(ge=1, le=100)] = 4
    """Features of one layer whose games are played and stored as one unit."""

    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """False discovery rate over the features (Benjamini-Hochberg)."""

    resamples: Annotated[int, Field(ge=1000, le=1_000_000)] = 10_000
    """Sign flips and bootstrap samples of the paired differences; no p of theirs is below one in
    this number, unless the games are few enough for all sign flips."""

    sampling: Sampling = Sampling(max_new_tokens=1024, min_new_tokens=10)
    """How responses are drawn."""

    @model_validator(mode="after")
    def _consistent(self) -> "ClampedGamesSettings":
        refuse_greedy_retries(self.sampling, self.retries)
        prompt_exists_for(self.prompt, self.resolved_conditions)
        if isinstance(self.features, dict):
            named = sum(len(ids) for ids in self.features.values())
            if named > self.most:
                raise ValueError(f"features names {named} features, most allows {self.most}")
        return self

    @property
    def resolved_conditions(self) -> tuple[Condition, ...]:
        """The conditions to play, in the order given (for a group, that of the design)."""
        return conditions_of(self.conditions)

    @property
    def games_per_arm(self) -> int:
        """Games of each arm: repetitions in every condition."""
        return len(self.resolved_conditions) * self.repetitions
