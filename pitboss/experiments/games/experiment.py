"""Exp0: slot machine games in all conditions. One unit is a batch of games."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pitboss.analysis.games import condition_outcomes
from pitboss.experiments.games.settings import GamesSettings
from pitboss.experiments.runtime.artifacts import Artifact, FigureArtifact, TableArtifact
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.identity import model_identity, play_identity, prompts_identity
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.games.conditions import Condition
from pitboss.report.figures import outcomes_figure
from pitboss.report.tables import outcome_rows
from pitboss.studies.reference import LONGEST_REASONING
from pitboss.studies.workload import (
    DECISION_BYTES,
    TOKEN_BYTES,
    Shape,
    Workload,
    decisions,
    longest_game_prompt,
    prompt_tokens,
)

if TYPE_CHECKING:
    from pitboss.experiments.runtime.context import ModelContext

GameId = tuple[Condition, int]  # condition, repetition


class Games(Experiment[GamesSettings]):
    """Slot machine games of each model in the conditions that the study names."""

    judged: ClassVar[str | None] = "decisions"
    results_task: ClassVar[str] = "game outcomes"

    def stages(self, model: str) -> Stages:
        yield self.batches(model)

    def batches(self, model: str) -> list[Unit]:
        """The batches of games of one model, repetition by repetition."""
        settings = self.settings
        ids: list[GameId] = [
            (condition, repetition)
            for repetition in range(settings.repetitions)
            for condition in settings.resolved_conditions
        ]
        return [
            self._batch(model, start // settings.batch, ids[start : start + settings.batch])
            for start in range(0, len(ids), settings.batch)
        ]

    def _batch(self, model: str, number: int, ids: list[GameId]) -> Unit:
        settings = self.settings
        return Unit(
            experiment=self.name,
            task="game batch",
            kind="games",
            slug=f"{model}/{number:04d}",
            identity={
                **model_identity(self.study, model, own_prompts=True),
                "prompts": prompts_identity([settings.prompt]),
                "games": [[condition.key, repetition] for condition, repetition in ids],
                **play_identity(settings, settings.sampling_for(model)),
            },
            rows=len(ids),
            beside=("decisions",),
            model=model,
            payload=ids,
        )

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        from pitboss.experiments.games.batch import play_batch

        assert context is not None  # every unit names its model
        return play_batch(context, self.settings, unit.payload, slots)

    def workload(self) -> list[Workload]:
        return [self._workload(model) for model in self.models]

    def _workload(self, model: str) -> Workload:
        settings = self.settings
        conditions = len(settings.resolved_conditions)
        limit = settings.sampling_for(model).max_new_tokens
        runs = conditions * settings.repetitions
        most = decisions(runs, settings.max_rounds, settings.retries, limit)
        return Workload(
            self.name,
            settings.kind,
            model,
            conditions,
            runs,
            *most,
            f"{conditions} conditions × {settings.repetitions} games; responses ≤ games × "
            f"{settings.max_rounds} rounds × (1 + {settings.retries} retries), each ≤ {limit} "
            f"tokens and {DECISION_BYTES} + {TOKEN_BYTES} × {limit} bytes",
            Shape(prompt_tokens(longest_game_prompt(settings.prompt)), limit),
        )

    def notes(self) -> Iterable[str]:
        settings = self.settings
        yield (
            "The plan asks again without end; here a decision is asked at most "
            f"{settings.retries} more times, then the game is aborted and counted as aborted, "
            "never as a stop."
        )
        for model in self.models:
            limit = settings.sampling_for(model).max_new_tokens
            if self.study.spec(model).chat_template and limit < LONGEST_REASONING:
                yield (
                    f"{model}: {limit} tokens may cut responses off before their decision; "
                    f"reasoning of up to {LONGEST_REASONING} tokens was seen from Gemma-2-9b-it."
                )
        if settings.reader != "menu":
            yield (
                f"The games are read by {settings.reader}, which finds keywords anywhere and makes "
                "up decisions; their numbers reproduce the original's, they do not correct it."
            )

    def results(self, model: str) -> Iterable[Artifact]:
        """How the games ended, as a table and as a picture."""
        keys = [unit.key for unit in self.batches(model)]
        columns = ["key", "game", "round", "balance", "bet", "won"]
        played = self.store.read("decisions", keys, columns=columns).to_pandas()
        outcomes = condition_outcomes(self.store.read("games", keys).to_pandas(), played)
        name = f"{self.name}-{model}"
        yield TableArtifact(name, outcome_rows(outcomes), f"How {model}'s games ended")
        caption = f"How {model}'s games ended, by condition"
        yield FigureArtifact(name, outcomes_figure(outcomes), caption)
