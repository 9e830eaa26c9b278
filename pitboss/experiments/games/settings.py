"""Exp0 in a study file: slot-machine games from the first round to their end."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pitboss.games.conditions import Condition
from pitboss.studies.conditions import ConditionGroup, conditions_of, prompt_exists_for
from pitboss.studies.experiment import Counted, ExperimentSettings
from pitboss.studies.fields import (
    Alias,
    Aliases,
    ConditionKeys,
    Count,
    GamePrompt,
    ReaderName,
)
from pitboss.studies.sampling import Sampling, refuse_greedy_retries


class GamesSettings(ExperimentSettings):
    """Exp0: slot-machine games from the first round to their end."""

    flow: ClassVar[str] = "games"
    carried_out_by: ClassVar[str] = "pitboss.experiments.games.experiment:Games"
    number: ClassVar[str] = "Exp0"
    makes: ClassVar[tuple[str, ...]] = ("games",)
    own_prompts: ClassVar[bool] = True
    counted: ClassVar[Counted | None] = Counted("games")

    kind: Literal["games"]

    models: Aliases
    """Which of the study's models play."""

    prompt: GamePrompt = "exp0/planned"
    """Which prompt text the player sees."""

    conditions: ConditionGroup | ConditionKeys = "all"
    """Prompt conditions such as variable/GMRWP, or all 64, or the 32 of one bet type."""

    repetitions: Count = 50
    """Games in each condition, per model."""

    max_rounds: Count = 100
    """Rounds after which a game ends without bankruptcy or stop."""

    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a decision is asked again after a response without a playable decision; then the
    game is aborted and counted as such."""

    reader: ReaderName = "menu"
    """How responses are read. The original-* readers make up decisions; they exist to reproduce
    old numbers."""

    full_response: bool = False
    """Let a response go on after its decision is certain, to the model's own end or the token
    limit."""

    batch: Annotated[int, Field(ge=1, le=4096)] = 64
    """Games that are played together and stored as one file."""

    sampling: Sampling = Sampling(max_new_tokens=1024, min_new_tokens=10)
    """How responses are drawn."""

    token_limits: dict[Alias, Count] = {}
    """A model's own limit on the tokens of a response, where it differs from the sampling's."""

    @model_validator(mode="after")
    def _consistent(self) -> "GamesSettings":
        refuse_greedy_retries(self.sampling, self.retries)
        prompt_exists_for(self.prompt, self.resolved_conditions)
        strangers = sorted(set(self.token_limits) - set(self.models))
        if strangers:
            raise ValueError(f"token_limits names models that do not play: {', '.join(strangers)}")
        for alias in self.token_limits:
            self.sampling_for(alias)
        return self

    @property
    def resolved_conditions(self) -> tuple[Condition, ...]:
        """The conditions to play, in the order given (for a group, that of the design)."""
        return conditions_of(self.conditions)

    def sampling_for(self, alias: str) -> Sampling:
        """The sampling of one model, with its own token limit."""
        limit = self.token_limits.get(alias, self.sampling.max_new_tokens)
        return Sampling(**(self.sampling.model_dump() | {"max_new_tokens": limit}))
