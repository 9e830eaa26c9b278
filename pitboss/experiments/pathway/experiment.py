"""Exp1: how the decision forms, layer by layer and round by round.

Games are played in batches until enough of them ended in bankruptcy and in a voluntary stop; of the
first that fill each quota, every round's SAE activations are kept, sparse. What the cap on games
leaves open is reported as a shortfall.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pitboss.experiments.pathway.quotas import Batch, batch_of, wanted
from pitboss.experiments.pathway.recorded import recorded
from pitboss.experiments.pathway.results import shown_analysis, shown_readings
from pitboss.experiments.pathway.settings import (
    ANSWER,
    ATTRIBUTION_WIDTH,
    GROUPINGS,
    PathwaySettings,
)
from pitboss.experiments.runtime.artifacts import Artifact
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.identity import (
    model_identity,
    play_identity,
    prompts_identity,
    sae_identity,
)
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.studies.reference import PLAYED
from pitboss.studies.workload import (
    Shape,
    Workload,
    decisions,
    longest_game_prompt,
    prompt_tokens,
)

if TYPE_CHECKING:
    from pitboss.experiments.runtime.context import ModelContext

# Llama Scope was trained for 50 active features a token, Gemma Scope for about 100.
_ACTIVE_FEATURES, _ACTIVATION_BYTES = 100, 16


class Pathway(Experiment[PathwaySettings]):
    """Games of one model until both quotas are filled, and what each layer holds of them."""

    judged: ClassVar[str | None] = "decisions"
    results_task: ClassVar[str] = "pathway reading"

    def __init__(self, plan: Plan, name: str, settings: PathwaySettings) -> None:
        super().__init__(plan, name, settings)
        self._ends: dict[str, list[str]] = {}  # of the games of finished batches

    def stages(self, model: str) -> Stages:
        played = []
        for batch in self.batches():
            played.append(batch)
            yield [batch]
        yield [self.analysis(played)]
        yield [self.decoding(played), *self.attribution()]

    def batches(self) -> Iterator[Unit]:
        """The batches of games, in order, until the quotas are filled or the cap is reached.

        Raises:
            Incomplete: The one before that which is asked for is not played.
        """
        settings, room = self.settings, wanted(self.settings)
        for number in range(-(-settings.max_games // settings.batch)):
            if not any(room.values()):
                return
            unit = self._batch(number, batch_of(settings, number, room))
            yield unit
            ends = self._ends_of(unit)
            room = {outcome: max(0, n - ends.count(outcome)) for outcome, n in room.items()}

    def _ends_of(self, batch: Unit) -> list[str]:
        """How a batch's games ended."""
        if batch.key not in self._ends:
            games = self.store.read("games", [batch.key], columns=["outcome"])
            self._ends[batch.key] = games["outcome"].to_pylist()
        return self._ends[batch.key]

    def _batch(self, number: int, batch: Batch) -> Unit:
        settings = self.settings
        return Unit(
            experiment=self.name,
            task="pathway batch",
            kind="games",
            slug=f"{settings.model}/pathway-{number:04d}",
            identity={
                **model_identity(self.study, settings.model, own_prompts=True),
                "prompts": prompts_identity([settings.prompt]),
                "games": [[condition.key, repetition] for condition, repetition in batch.ids],
                "saes": self._saes,
                "room": batch.room,
                "decisions": "carried out",
                **play_identity(settings, settings.sampling),
            },
            rows=len(batch.ids),
            beside=("activations", "decisions"),
            model=settings.model,
            payload=batch,
        )

    def analysis(self, batches: Sequence[Unit]) -> Unit:
        """Top features by layer and the curve of the decision, over the games that count."""
        keys = [unit.key for unit in batches]
        return Unit(
            experiment=self.name,
            task="pathway analysis",
            kind="pathway",
            slug=self.settings.model,
            identity={"games": keys, "top": self.settings.top_features},
            rows=None,
            beside=("pathway_curve",),
            payload=keys,
        )

    def decoding(self, batches: Sequence[Unit]) -> Unit:
        """Decodability and lens of the games that count."""
        settings, keys = self.settings, [unit.key for unit in batches]
        return Unit(
            experiment=self.name,
            task="pathway decoding",
            kind="decodability",
            slug=f"{settings.model}/decoding",
            identity={
                **model_identity(self.study, settings.model, own_prompts=True),
                "saes": self._saes,
                "games": keys,
                "folds": settings.folds,
                "inputs": settings.inputs,
                "answer": ANSWER,
            },
            rows=len(settings.layers) * len(GROUPINGS) * len(settings.inputs),
            beside=("lens",),
            model=settings.model,
            payload=keys,
        )

    def attribution(self) -> list[Unit]:
        """The attribution of the scenes, if any are named."""
        settings = self.settings
        if not settings.scenes:
            return []
        model = model_identity(self.study, settings.model)
        model.pop("precision", None)  # the plain model's gradients, and exact changes
        identity = {
            **model,
            "width": ATTRIBUTION_WIDTH,
            "prompts": prompts_identity(settings.scenes),
            "saes": self._saes,
        }
        return [
            Unit(
                experiment=self.name,
                task="pathway attribution",
                kind="attribution",
                slug=f"{settings.model}/attribution",
                identity=identity,
                rows=None,
                model=settings.model,
            )
        ]

    @property
    def _saes(self) -> list[dict[str, Any]]:
        settings = self.settings
        return [
            sae_identity(self.study, settings.model, layer, settings.gate)
            for layer in settings.layers
        ]

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        settings = self.settings
        if unit.kind == "pathway":
            from pitboss.experiments.pathway.analysis import analyse

            return analyse(settings, recorded(settings, self.store, unit.payload))
        assert context is not None  # every other unit names its model
        if unit.kind == "games":
            from pitboss.experiments.pathway.batch import play_batch

            return play_batch(context, settings, unit.payload, slots)
        if unit.kind == "decodability":
            from pitboss.experiments.pathway.decoding import read_layers

            found = recorded(settings, self.store, unit.payload)
            return read_layers(context, settings, found, slots)
        from pitboss.experiments.pathway.attribution import attribute

        return attribute(context, settings)

    def quotas(self, table: str) -> dict[str, dict[str, int]]:
        return {"outcome": wanted(self.settings)} if table == "games" else {}

    def shortfall(self) -> list[str]:
        """What the quotas lack where the cap on games ended the collection, one sentence each.

        Raises:
            Incomplete: A batch is still to be played.
        """
        ends = [end for batch in self.batches() for end in self._ends_of(batch)]
        return [
            f"Short: {ends.count(outcome)} of {n} games that end in {outcome.replace('_', ' ')}, "
            f"after {len(ends)} games."
            for outcome, n in wanted(self.settings).items()
            if ends.count(outcome) < n
        ]

    def workload(self) -> list[Workload]:
        settings = self.settings
        limit, games = settings.sampling.max_new_tokens, settings.bankruptcies + settings.stops
        responses, tokens, size = decisions(
            settings.max_games, settings.max_rounds, settings.retries, limit
        )
        kept = games * settings.max_rounds * len(settings.layers)
        return [
            Workload(
                self.name,
                settings.kind,
                settings.model,
                len(settings.resolved_conditions),
                settings.max_games,
                responses,
                tokens,
                size + kept * _ACTIVE_FEATURES * _ACTIVATION_BYTES,
                f"games until {settings.bankruptcies} bankruptcies and {settings.stops} stops, at "
                f"most {settings.max_games}; decisions as in games (≤ {limit} tokens); activations "
                f"{games} games × {settings.max_rounds} rounds × {len(settings.layers)} layers × "
                f"{_ACTIVE_FEATURES} active × {_ACTIVATION_BYTES} bytes",
                Shape(
                    prompt_tokens(longest_game_prompt(settings.prompt)),
                    limit,
                    captured=len(settings.layers),
                ),
            )
        ]

    def notes(self) -> Iterable[str]:
        settings = self.settings
        yield (
            f"The quota of {settings.bankruptcies} bankruptcies and {settings.stops} stops is met "
            f"by playing until both are in, for at most {settings.max_games:,} games; a shortfall "
            "is reported, never filled up."
        )
        played = PLAYED.get(self.study.models[settings.model].id)
        if played is None:
            return
        rates = [
            played.bankrupt_fixed if c.bet_type == "fixed" else played.bankrupt_variable
            for c in settings.resolved_conditions
        ]
        rate = sum(rates) / len(rates)
        yield (
            f"{settings.model} went bankrupt in {rate:.2%} of the original's games in these "
            f"conditions (as its keyword reader counted), so {settings.bankruptcies} bankruptcies "
            f"take about {settings.bankruptcies / rate:,.0f} games, not the "
            f"{settings.bankruptcies + settings.stops} of the plan."
        )

    def results(self, model: str) -> Iterable[Artifact]:
        """What differs between stop and bet, the decision's curve, and what each layer holds."""
        batches = list(self.batches())
        analysis, decoding = self.analysis(batches), self.decoding(batches)
        yield from shown_analysis(self, analysis.key, self.shortfall())
        yield from shown_readings(self, decoding.key, [unit.key for unit in self.attribution()])
