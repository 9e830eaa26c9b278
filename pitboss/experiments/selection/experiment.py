"""Which SAE features differ between games that end bankrupt and games that end in a stop.

A unit is one layer's sums over the last decision of every such game, read at the last prompt token;
decisions with the same prompt are computed once. The last unit then tests all features of all
layers at once, chooses, and writes the feature bank.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitboss.errors import BadInput
from pitboss.experiments.games.experiment import Games
from pitboss.experiments.runtime.artifacts import (
    Artifact,
    FigureArtifact,
    NoteArtifact,
    TableArtifact,
)
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.identity import model_identity, sae_identity
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.experiments.selection.announced import notes, workload
from pitboss.experiments.selection.groups import adjusting, last_decisions
from pitboss.experiments.selection.imported import imported_table
from pitboss.experiments.selection.settings import SelectionSettings
from pitboss.experiments.selection.statistics import firing, means
from pitboss.models.catalogue import sae_release
from pitboss.report.figures import statistics_figure
from pitboss.saes.imported import ImportedStatistics
from pitboss.saes.planted import ROLES, planted_in
from pitboss.store import Store
from pitboss.studies.fields import Gate
from pitboss.studies.workload import Workload

if TYPE_CHECKING:
    from pitboss.engine.controls import Firing
    from pitboss.experiments.runtime.context import ModelContext
    from pitboss.saes.bank import FeatureBank

_SHOWN = ["layer", "rank", "feature", "chosen_by", "d", "q", "d_adjusted", "q_adjusted"]


class Selection(Experiment[SelectionSettings]):
    """The features of one model that differ between the endings of its games."""

    @property
    def model(self) -> str:
        """The study's name of the model."""
        return self.settings.model

    @property
    def sae(self) -> str:
        """SAE release of the catalogue."""
        return self.study.models[self.model].sae

    @property
    def gate(self) -> Gate:
        return self.settings.gate

    @property
    def layers(self) -> list[int]:
        return self.settings.layers

    @property
    def selection(self) -> "Selection":
        """Itself: what else is a source of features names the selection that it goes back to."""
        return self

    @cached_property
    def games(self) -> Games | None:
        """The games that are compared; None where the statistics are imported."""
        name = self.settings.games
        return None if name is None else self.reads(Games, name)

    @cached_property
    def table(self) -> ImportedStatistics | None:
        """The statistics from elsewhere, or None.

        Raises:
            BadInput: The file is missing or damaged, or has layers that the selection does not.
            Mismatch: The table belongs to another space, model, SAE, gate or hook point.
        """
        return imported_table(self.settings, self.study.models[self.model])

    def stages(self, model: str) -> Stages:
        if self.sums:
            yield self.sums
        yield [self.choice]

    @cached_property
    def sums(self) -> list[Unit]:
        """One unit a layer; none when the statistics are imported."""
        return [] if self.games is None else [self._sums(layer) for layer in self.layers]

    def _sums(self, layer: int) -> Unit:
        return Unit(
            experiment=self.name,
            task="SAE extract",
            kind="sums",
            slug=f"{self.model}/L{layer:02d}",
            identity={
                **model_identity(self.study, self.model, own_prompts=True),
                "sae": sae_identity(self.study, self.model, layer, self.gate),
                "games": self._games_keys(),
                "decision": "last",
                "states": "counted",
                **adjusting(self.settings),
            },
            rows=2 * sae_release(self.sae).d_sae,
            beside=() if self.settings.adjust == "none" else ("adjustments",),
            model=self.model,
            payload=layer,
        )

    def _games_keys(self) -> list[str]:
        """Content keys of the batches of games that are compared."""
        return [] if self.games is None else [unit.key for unit in self.games.batches(self.model)]

    @cached_property
    def choice(self) -> Unit:
        """Statistics, selected features and the bank."""
        rules = self.settings.model_dump(mode="json", exclude={"kind", "model", "games", "layers"})
        source = {} if self.table is None else {"table": self.table.sha256}
        return Unit(
            experiment=self.name,
            task="feature selection",
            kind="features",
            slug=self.model,
            identity={"sums": [unit.key for unit in self.sums], **source, "rules": rules},
            rows=None,
            beside=("statistics",) if self.sums else (),
            intact=self._has_bank,
        )

    @property
    def key(self) -> str:
        """Content key of the statistics and of the selected features."""
        return self.choice.key

    @property
    def bank_path(self) -> Path:
        return self.store.path / "banks" / f"{self.name}.safetensors"

    @property
    def bank_meta(self) -> dict[str, Any]:
        """What the bank belongs to."""
        model = self.study.models[self.model]
        return {"model": model.id, "sae": model.sae, "gate": self.gate, "features": self.key}

    def bank(self, count: int | None = None) -> "FeatureBank":
        """The selected features with their vectors and values.

        Raises:
            BadInput: It does not exist or is damaged.
            Mismatch: It is of another model, SAE, gate or selection; names the first that differs.
        """
        return self._bank

    @cached_property
    def _bank(self) -> "FeatureBank":
        from pitboss.saes.bank import FeatureBank

        return FeatureBank.load(self.bank_path, expect=self.bank_meta)

    def _has_bank(self, store: Store) -> bool:
        try:
            self.bank()
        except BadInput:
            return False
        return True

    def chosen_by(self, count: int | None = None) -> dict[str, Any]:
        """Nothing: the features are named by their statistics, see `BankSource`."""
        return {}

    def shifts(self) -> dict[tuple[int, int], float]:
        """None is computed, see `BankSource`."""
        return {}

    def differences(self) -> dict[tuple[int, int], float]:
        """Cohen's d of every selected feature that has one, by layer and feature.

        Raises:
            Incomplete: The selection is not finished.
        """
        rows = self.store.read("features", [self.key], columns=["layer", "feature", "d"])
        return {
            (int(row.layer), int(row.feature)): float(row.d)
            for row in rows.to_pandas().dropna(subset=["d"]).itertuples()
        }

    def means(self, names: Sequence[str]) -> dict[int, NDArray[np.float32]]:
        """What every feature can be set to: layer -> float32 [names, d_sae].

        Args:
            names: Groups, safe or risky.

        Raises:
            Incomplete: The statistics are not there.
        """
        return means(self.store, self.key, names)

    def firing(self, layer: int) -> "Firing | None":
        """How a layer's features fire in the games; None for imported statistics.

        Raises:
            Incomplete: The statistics are not there.
        """
        return None if self.games is None else firing(self.store, self.key, layer)

    def known_answers(self) -> dict[str, set[tuple[int, int]]]:
        """(layer, feature) of the planted features by role; empty sets where none are included."""
        if self.settings.include != "planted":
            return {role: set() for role in ROLES}
        return planted_in(self.sae, self.layers)

    def most(self, count: int | None = None) -> int:
        """Most features that can be selected: `per_layer` in every layer, and the included.

        Raises:
            BadInput, Mismatch: As for `table`.
        """
        include, per_layer = self.settings.include, self.settings.per_layer
        if self.table is not None:
            return sum(min(per_layer, int(n)) for n in self.table.frame.groupby("layer").size())
        more = include if isinstance(include, dict) else self.known_answers()
        return len(self.layers) * per_layer + sum(map(len, more.values()))

    def selected(self) -> int:
        """Features that are selected; 0 as long as none are."""
        done = self.store.ref("features", self.key)
        return 0 if done is None else done.rows

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        from pitboss.experiments.selection.choice import select_features
        from pitboss.experiments.selection.layer_sums import sum_layer

        if unit.kind == "features":
            return select_features(self)
        assert context is not None  # the sums name their model
        decisions = last_decisions(self.store, self._games_keys())
        return sum_layer(context, self.settings, decisions, unit.payload, slots)

    def workload(self) -> list[Workload]:
        return [workload(self)]

    def notes(self) -> Iterable[str]:
        return notes(self)

    def preflight(self) -> None:
        """Refuse a table that does not fit."""
        _ = self.table

    def results(self, model: str) -> Iterable[Artifact]:
        """The selected features, how many passed in each layer, and what to doubt."""
        from pitboss.experiments.selection.choice import choose, doubted

        part = self.store.ref("features", self.key)
        assert part is not None  # asked when everything is finished
        selected = self.store.read("features", [self.key])
        yield TableArtifact(
            f"{self.name}-{model}",
            selected.select([*_SHOWN, "safe", "risky"]).to_pylist(),
            f"{selected.num_rows} features of {model} to be patched",
            rest=part.path,
        )
        chosen = doubted(choose(self).chosen, self.bank())
        yield TableArtifact(
            f"{self.name}-layers-{model}",
            chosen.layers.to_dict("records"),
            f"Features of {model} tested and selected in each layer",
        )
        if self.sums:
            statistics = self.store.read("statistics", [self.key]).to_pandas()
            yield FigureArtifact(
                self.named(f"features-{model}"),
                statistics_figure(statistics, selected.to_pandas()),
                f"Effect sizes of {model}'s features",
            )
        if doubts := [f"- {doubt.what} ({doubt.entries})" for doubt in chosen.doubts]:
            yield NoteArtifact(
                f"{self.name}-doubts-{model}",
                "\n".join(doubts),
                "Doubtful entries among the selected",
            )
