"""Exp5: whole games with a feature clamped. One unit is a few features of one layer, all arms.

Every response of a game is drawn with the same patch in place: the feature is held at one value at
the last prompt token and at every generated token, round after round. The same games are played
without a patch, once for all features, and for some features with the patch written along a random
direction. A game has the same luck and the same noise in all arms, so arms differ by their patch
alone.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from pitboss.errors import BadInput
from pitboss.experiments.clamped_games.features import Chunk, Name, by_layer, strongest
from pitboss.experiments.clamped_games.settings import POSITIONS, ClampedGamesSettings
from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.runtime.artifacts import Artifact, FigureArtifact, TableArtifact
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.identity import model_identity, play_identity, prompts_identity
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.report.clamped_games import clamped_figure
from pitboss.store import Store
from pitboss.studies.workload import (
    Shape,
    Workload,
    decisions,
    longest_game_prompt,
    prompt_tokens,
)

if TYPE_CHECKING:
    from pitboss.experiments.runtime.context import ModelContext
    from pitboss.saes.bank import FeatureBank


class ClampedGames(Experiment[ClampedGamesSettings]):
    """Whole games under a patch of one feature, against the same games without it."""

    judged: ClassVar[str | None] = "decisions"

    @cached_property
    def patching(self) -> Patching:
        """The patching whose features are clamped."""
        return self.reads(Patching, self.settings.patching)

    @property
    def alias(self) -> str:
        """The study's name of the model."""
        return self.patching.model

    def stages(self, model: str) -> Stages:
        games = [self.baseline(), *self.chunks]
        yield games
        yield [self.effects([unit.key for unit in games])]

    def baseline(self) -> Unit:
        """The games without a patch, shared by all features."""
        return Unit(
            experiment=self.name,
            task="held chunk",
            kind="persistent",
            slug=f"{self.alias}/persistent-baseline",
            identity={"baseline": True, **self._identity()},
            rows=self.settings.games_per_arm,
            beside=("decisions",),
            model=self.alias,
        )

    def chosen(self) -> list[Name]:
        """Layer and feature of those to be clamped, the strongest first.

        Raises:
            Incomplete: The causal ones are asked for, and the patching's effects are not tested
                yet.
        """
        settings = self.settings
        if isinstance(settings.features, dict):
            return [(layer, i) for layer, ids in sorted(settings.features.items()) for i in ids]
        return strongest(self.patching.effects())[: settings.most]

    @cached_property
    def chunks(self) -> list[Unit]:
        """At most `chunk` features of one layer each, controls of the first ones included.

        Raises:
            BadInput: A feature is not among the patched ones.
            Incomplete: See `chosen`.
        """
        settings, names, bank = self.settings, self.chosen(), self.patching.bank
        controlled = frozenset(names[: settings.controls])
        known = zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)
        row = {name: i for i, name in enumerate(known)}
        if strangers := [name for name in names if name not in row]:
            raise BadInput(
                f"{len(strangers)} features are not among the patched ones, first (layer, feature) "
                f"{strangers[0]}: their values are not known.",
                where=f"experiments.{self.name}.features",
                next="Take them in where they are selected (include), or leave them out.",
            )
        return [
            self._chunk(bank.rows([row[name] for name in some]), controlled & set(some), start)
            for start, some in by_layer(names, settings.chunk)
        ]

    def _chunk(self, bank: "FeatureBank", controlled: frozenset[Name], start: int) -> Unit:
        settings, layer = self.settings, int(bank.layer[0])
        arms = (len(bank) + len(controlled)) * len(settings.values)
        return Unit(
            experiment=self.name,
            task="held chunk",
            kind="persistent",
            slug=f"{self.alias}/persistent-L{layer:02d}-{start:04d}",
            identity={
                **self._identity(),
                "sae": bank.meta["saes"][str(layer)],
                "features": bank.feature.tolist(),
                "values": {name: bank.values[name].tolist() for name in settings.values},
                "controlled": sorted(feature for _, feature in controlled),
                "positions": POSITIONS,
            },
            rows=arms * settings.games_per_arm,
            beside=("decisions",),
            model=self.alias,
            payload=Chunk(bank, controlled),
        )

    def _identity(self) -> dict[str, Any]:
        settings = self.settings
        return {
            **model_identity(self.study, self.alias, own_prompts=True),
            "prompts": prompts_identity([settings.prompt]),
            "conditions": [condition.key for condition in settings.resolved_conditions],
            "repetitions": settings.repetitions,
            **play_identity(settings, settings.sampling),
        }

    def effects(self, games: Sequence[str]) -> Unit:
        """The tests of all arms.

        Args:
            games: Content keys of the baseline and of all chunks.
        """
        settings = self.settings
        return Unit(
            experiment=self.name,
            task="held effects",
            kind="persistent_effects",
            slug=self.alias,
            identity={"games": games, "fdr": settings.fdr, "resamples": settings.resamples},
            rows=None,
            beside=("persistent_contrasts",),
            payload=games,
            intact=self._counted,
        )

    @property
    def counts(self) -> str:
        """The file that says how many features and how many controls reach significance."""
        return self.file("persistent.json")

    def _counted(self, store: Store) -> bool:
        try:
            store.read_json(self.counts)
        except BadInput:
            return False
        return True

    def judges(self, unit: Unit) -> bool:
        """What a patch does to responses is a finding; judged are those without one."""
        return super().judges(unit) and "baseline" in unit.identity

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        settings = self.settings
        if unit.kind == "persistent_effects":
            from pitboss.experiments.clamped_games.effects import compare_arms

            seed, units = self.study.seed, unit.payload
            return compare_arms(settings, seed, self.store, units, self.counts)
        from pitboss.experiments.clamped_games.games import play_chunk

        assert context is not None  # games name their model
        return play_chunk(context, settings, self.patching.settings, unit.payload, slots)

    def workload(self) -> list[Workload]:
        settings = self.settings
        if isinstance(settings.features, dict):
            features = sum(len(ids) for ids in settings.features.values())
        else:
            features = min(settings.most, self.patching.most())
        controls, values = min(settings.controls, features), len(settings.values)
        arms = (features + controls) * values + 1
        games, limit = settings.games_per_arm, settings.sampling.max_new_tokens
        conditions = len(settings.resolved_conditions)
        return [
            Workload(
                self.name,
                settings.kind,
                self.alias,
                conditions,
                arms * games,
                *decisions(arms * games, settings.max_rounds, settings.retries, limit),
                f"≤ {features:,} features and {controls:,} controls × {values} values + 1 baseline "
                f"= {arms:,} arms × {games:,} games ({conditions} conditions × "
                f"{settings.repetitions}); decisions as in games (≤ {limit} tokens)",
                Shape(prompt_tokens(longest_game_prompt(settings.prompt)), limit),
            )
        ]

    def notes(self) -> Iterable[str]:
        settings = self.settings
        yield (
            "The games without a patch are played once for all features "
            f"({settings.games_per_arm:,} games), not again for each; a game has the same luck and "
            "noise in every arm. Bankrupt means a balance of $0, as everywhere here; the "
            "original's Exp5 counted less than $5."
        )
        if not settings.controls:
            yield (
                "Exp5 runs without controls: whether its effects are those of the features, or "
                "those of any change of their size, cannot be told."
            )

    def results(self, model: str) -> Iterable[Artifact]:
        """Every arm against the games without a patch, and safe values against risky ones."""
        unit = self.effects([unit.key for unit in (self.baseline(), *self.chunks)])
        part = unit.ref(self.store)
        assert part is not None  # asked when everything is finished
        table = self.store.read("persistent_effects", [unit.key]).to_pandas()
        yield TableArtifact(
            self.name,
            [_shown(row) for _, row in table.sort_values("p_bankruptcy").iterrows()],
            "Games with a clamped feature, against the same games without a patch",
            rest=part.path,
        )
        caption = "What a clamped feature does to bankruptcy"
        yield FigureArtifact(self.named("persistent"), clamped_figure(table), caption)
        yield TableArtifact(
            f"{self.name}-controls",
            self.store.read_json(self.counts)["significant"],
            "Safe against risky values: significant features, and controls that reach the same p",
        )


def _shown(row: pd.Series) -> dict[str, Any]:
    shown = {
        "role": row["role"],
        "feature": "" if pd.isna(row["layer"]) else f"L{row['layer']:.0f}/F{row['feature']:.0f}",
        "arm": row["arm"],
        "bankrupt": f"{row['bankruptcies']}/{row['n']}",
    }
    for name in ("bankruptcy", "rounds", "betting", "loss_chasing", "extreme"):
        shown[f"Δ {name.replace('_', ' ')}"] = row[f"difference_{name}"]
    return {**shown, "p": row["p_bankruptcy"], "q": row["q_bankruptcy"]}
