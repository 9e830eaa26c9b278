"""Exp2's question without sampling: what each feature's patch does to the first token's decision.

A unit is one chunk of features of one layer with all prompts and values. The features are those of
a selection's bank, or every feature of every layer; then SAEs are read one after the other, the
next while the device works on this one. The last unit ranks all features.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pitboss.errors import BadInput
from pitboss.experiments.runtime.artifacts import Artifact, FigureArtifact, TableArtifact
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.experiments.screening.announced import notes, workload
from pitboss.experiments.screening.chunks import all_chunks, selected_chunks
from pitboss.experiments.screening.settings import OF_GROUPS, ScreeningSettings, contrasted
from pitboss.experiments.selection.experiment import Selection
from pitboss.games.scenes import state_names
from pitboss.models.catalogue import sae_release
from pitboss.report.effects import screening_figure
from pitboss.report.tables import leading_features, screened_rows
from pitboss.saes.planted import ROLES, planted_in
from pitboss.store import Store
from pitboss.studies.fields import Gate
from pitboss.studies.workload import Workload

if TYPE_CHECKING:
    from pitboss.experiments.runtime.context import ModelContext
    from pitboss.saes.bank import FeatureBank


class Screening(Experiment[ScreeningSettings]):
    """What every value of every feature does to the decisions of some prompts, and who leads."""

    @cached_property
    def selection(self) -> Selection | None:
        """Whose model, layers, gate and values are used; None where these are its own."""
        name = self.settings.selection
        return None if name is None else self.reads(Selection, name)

    @property
    def model(self) -> str:
        """The study's name of the model."""
        model = self.settings.model if self.selection is None else self.selection.model
        assert model is not None  # the settings name a selection or a model
        return model

    @property
    def sae(self) -> str:
        """SAE release of the catalogue."""
        return self.study.models[self.model].sae

    @property
    def gate(self) -> Gate:
        if self.selection is not None:
            return self.selection.gate
        return self.settings.gate or "sae_lens"

    @property
    def layers(self) -> list[int]:
        layers = self.settings.layers if self.selection is None else self.selection.layers
        assert layers is not None  # the settings name a selection or layers
        return layers

    @property
    def values(self) -> list[str]:
        """What every feature is set to."""
        return self.settings.named_values

    @property
    def means_of(self) -> Selection | None:
        """The selection whose group means are among the values; None where none are."""
        return self.selection if set(self.values) & set(OF_GROUPS) else None

    @cached_property
    def states(self) -> list[str]:
        """Names of the generated states that are screened beside the scenes."""
        return state_names(0, self.settings.states or 0)

    @property
    def prompts(self) -> list[str]:
        """Names of everything that is screened."""
        return [*self.settings.prompts, *self.states]

    @property
    def rows_per_feature(self) -> int:
        return len(self.prompts) * len(self.values)

    def stages(self, model: str) -> Stages:
        yield self.chunks
        yield [self.ranking]

    @cached_property
    def chunks(self) -> list[Unit]:
        """The features to be screened, in chunks of one layer each.

        Raises:
            BadInput: The selection's bank is missing or damaged.
            Incomplete: The statistics that give all features their values are missing.
            Mismatch: The bank in its place was made for something else.
        """
        every = self.settings.every_feature
        return list(all_chunks(self) if every else selected_chunks(self))

    @cached_property
    def ranking(self) -> Unit:
        """All screened features, ranked. Raises as `chunks`."""
        return Unit(
            experiment=self.name,
            task="ranking",
            kind="ranking",
            slug=self.model,
            identity={
                "screening": [unit.key for unit in self.chunks],
                "rank_by": self.settings.rank_by,
            },
            rows=sum(len(unit.payload.features) for unit in self.chunks),
            intact=self._has_banks if self.counts else None,
        )

    @property
    def ranking_key(self) -> str:
        """Content key of the ranking. Raises as `chunks`."""
        return self.ranking.key

    @cached_property
    def counts(self) -> list[int]:
        """How many leading features other experiments of the study patch."""
        asked = {
            getattr(reader.settings, "confirm", None) for reader in self.plan.readers_of(self.name)
        }
        return sorted(count for count in asked if count is not None)

    def bank_path(self, count: int) -> Path:
        return self.store.path / "banks" / f"{self.name}-{count}.safetensors"

    def bank_meta(self, count: int) -> dict[str, Any]:
        """What a bank of leading features belongs to."""
        model = self.study.models[self.model]
        return {
            "model": model.id,
            "sae": model.sae,
            "gate": self.gate,
            "ranking": self.ranking_key,
            "confirm": count,
        }

    def bank(self, count: int | None = None) -> "FeatureBank":
        """The features that lead the ranking and change anything.

        Raises:
            BadInput: The bank does not exist or is damaged.
            Mismatch: The bank in its place was made for something else.
        """
        from pitboss.saes.bank import FeatureBank

        count = _given(count)
        if count not in self._banks:
            loaded = FeatureBank.load(self.bank_path(count), expect=self.bank_meta(count))
            self._banks[count] = loaded
        return self._banks[count]

    @cached_property
    def _banks(self) -> dict[int, "FeatureBank"]:
        return {}

    def _has_banks(self, store: Store) -> bool:
        try:
            for count in self.counts:
                self.bank(count)
        except BadInput:
            return False
        return True

    def chosen_by(self, count: int | None = None) -> dict[str, Any]:
        """The ranking, and how many were taken from its top, see `BankSource`."""
        return {"screened": {"ranking": self.ranking_key, "confirm": _given(count)}}

    def shifts(self) -> dict[tuple[int, int], float]:
        """The largest contrast of every screened feature, by layer and feature.

        Raises:
            Incomplete: The ranking is not there.
        """
        rows = self.ranked()
        return {
            (int(row.layer), int(row.feature)): float(row.contrast)
            for row in rows.dropna(subset=["contrast"]).itertuples()
        }

    def ranked(self, top: int | None = None) -> pd.DataFrame:
        """The first rows of the ranking, or all.

        Raises:
            Incomplete: The ranking is not there.
        """
        return self.store.read("ranking", [self.ranking_key]).slice(0, top).to_pandas()

    def known_answers(self) -> dict[str, set[tuple[int, int]]]:
        """(layer, feature) of planted features by role, empty where there are none.

        A selection knows whether it includes them; without one, the lab's SAEs have some.
        """
        if self.selection is not None:
            return self.selection.known_answers()
        lab = sae_release(self.sae).local is not None
        return planted_in(self.sae, self.layers) if lab else {role: set() for role in ROLES}

    def screened(self) -> int:
        """Most features that are screened."""
        if self.selection is None or self.settings.every_feature:
            return len(self.layers) * sae_release(self.sae).d_sae
        return self.selection.most()

    def most(self, count: int | None = None) -> int:
        """Features of the bank at most: as many as are asked for, see `BankSource`."""
        return min(_given(count), self.screened())

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        if unit.kind == "ranking":
            from pitboss.experiments.screening.ranking import rank_features

            return rank_features(self)
        from pitboss.experiments.screening.shifts import screen_chunk

        assert context is not None  # the chunks name their model
        return screen_chunk(context, self, unit.payload)

    def workload(self) -> list[Workload]:
        return [workload(self)]

    def notes(self) -> Iterable[str]:
        return notes(self)

    def shown(self, unit: Unit) -> Iterable[Artifact]:
        """The largest shifts of a chunk."""
        if unit.kind == "screening":
            rows = screened_rows(self.store.read("screening", [unit.key]).to_pandas())
            title = f"Chunk {unit.slug}, its largest shifts"
            yield TableArtifact(f"{self.name}-{unit.slug}", rows, title)

    def results(self, model: str) -> Iterable[Artifact]:
        """The features that lead, and what all of them do, as a picture."""
        part = self.store.ref("ranking", self.ranking_key)
        assert part is not None  # asked when everything is finished
        ranked, known, names = self.ranked(), self.known_answers(), contrasted(self.values)
        yield TableArtifact(
            f"{self.name}-ranking",
            leading_features(ranked, contrasted=names),
            "The features that move the log odds of stopping most",
            rest=part.path,
        )
        picture = screening_figure(
            ranked,
            self.settings.rank_by,
            planted=sorted(known["causal"]),
            null=sorted(known["null"]),
            contrasted=names,
        )
        title = "What each feature does to the odds of stopping"
        yield FigureArtifact(self.named("screening"), picture, title)

    def summary(self) -> dict[str, Any]:
        """How many features were screened, how many change anything, how many are patched."""
        if not self.plan.done(self.ranking):
            return {}
        ranked, causal = self.ranked(), self.known_answers()["causal"]
        found: dict[str, Any] = {
            "features": len(ranked),
            "change_anything": int((~ranked["unchanged"]).sum()),
            "confirm": max(self.counts, default=None),
        }
        if causal:
            pairs = zip(ranked["layer"], ranked["feature"], strict=True)
            leads = [pair in causal for pair in pairs]
            found["planted_causal"] = sum(leads)
            found["planted_causal_leading"] = sum(leads[: sum(leads)])
        return {self.named("screened"): found}


def _given(count: int | None) -> int:
    """How many from the top of a ranking; a study whose reader does not say is refused."""
    assert count is not None
    return count
