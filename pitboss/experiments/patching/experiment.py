"""Exp2: is a feature causal? Patch it to a population mean while the model answers, and count.

A unit is one chunk of features or controls with all its prompts, values and trials, or the
baseline: the unpatched prompts, drawn once and shared by every feature. Trial t of a prompt has the
same noise in every arm, so arms differ by their patch alone.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pitboss.analysis.effects import CONTRASTS, causal_features
from pitboss.analysis.outcomes import OUTCOMES
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.patching import chunks, random_bank
from pitboss.experiments.patching.arms import BASELINE, Chunk
from pitboss.experiments.patching.declaration import as_markdown, declare
from pitboss.experiments.patching.findings import findings_unit
from pitboss.experiments.patching.interim import InterimUnit, parts_so_far, whole
from pitboss.experiments.patching.notes import patching_notes
from pitboss.experiments.patching.reported import effects_shown, headline
from pitboss.experiments.patching.settings import PatchingSettings
from pitboss.experiments.patching.workload import patching_workload
from pitboss.experiments.runtime.artifacts import Artifact, Declaration, TableArtifact
from pitboss.experiments.runtime.bank_source import BankSource
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.experiments.selection.experiment import Selection
from pitboss.games.reading import reader
from pitboss.store import PartRef, Store
from pitboss.studies.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

    from pitboss.experiments.patching.confirmation import Confirmation
    from pitboss.experiments.runtime.context import ModelContext
    from pitboss.saes.bank import FeatureBank

DOCUMENTS = ("controls.json", "readers.json", "ladder.json", "original.json")
"""What lies beside the effects."""


class Patching(Experiment[PatchingSettings]):
    """Features of one model, set to their safe and risky values in the same scenes."""

    judged: ClassVar[str | None] = "trials"

    @cached_property
    def source(self) -> BankSource:
        """Where the patched features come from."""
        return cast(BankSource, self.plan[self.settings.bank])

    @property
    def selection(self) -> Selection:
        """The selection whose statistics the features have."""
        selection = self.source.selection
        assert selection is not None  # the study was refused otherwise
        return selection

    @property
    def model(self) -> str:
        """The study's name of the patched model."""
        return self.source.model

    @property
    def confirmation(self) -> "Confirmation | None":
        """The experiment that asks again what this one finds, if the study has one."""
        readers = self.plan.readers_of(self.name)
        found = (each for each in readers if each.settings.kind == "confirmation")
        return cast("Confirmation | None", next(found, None))

    @cached_property
    def bank(self) -> "FeatureBank":
        """The patched features.

        Raises:
            BadInput: The bank does not exist or is damaged.
            Mismatch: The bank in its place was made for something else.
        """
        return self.source.bank(self.settings.confirm)

    @cached_property
    def random_bank(self) -> "FeatureBank | None":
        """The random features; None if none are wanted.

        Raises:
            Incomplete: They are not drawn yet.
        """
        return random_bank.load(self) if self.settings.controls.random_features else None

    @property
    def chosen_by(self) -> dict[str, Any]:
        """What chose the features, besides their statistics."""
        return dict(self.source.chosen_by(self.settings.confirm))

    def most(self) -> int:
        """Features at most, before it is known which they are."""
        return self.source.most(self.settings.confirm)

    def stages(self, model: str) -> Stages:
        """What may fail comes before what takes days; random controls come last."""
        yield self.first_units
        yield [*self.feature_chunks, *self.random_chunks]
        yield [self.effects_unit()]
        if self.confirmation is None:
            yield [findings_unit(self, self.name)]

    @cached_property
    def first_units(self) -> list[Unit]:
        """The baseline, own values and reconstructions."""
        return [self.baseline_unit(), *chunks.failing_first(self)]

    @cached_property
    def feature_chunks(self) -> list[Unit]:
        """The chunks of the patched features: at most `chunk` features of one layer each.

        Raises:
            BadInput: As for `bank`.
        """
        return list(chunks.of_features(self))

    @cached_property
    def random_chunks(self) -> list[Unit]:
        """The chunks of random features and directions, which go through the same tests.

        Raises:
            Incomplete: The random features are not drawn yet.
        """
        return list(chunks.of_random_controls(self))

    def baseline_unit(self) -> Unit:
        """The unpatched runs, shared by all features; random features are drawn beside them."""
        return chunks.baseline(self)

    def parts(self, unit: Unit) -> Sequence[Unit]:
        """A unit itself, or the parts of a sequential chunk that are known so far."""
        return parts_so_far(unit, self.store) if isinstance(unit, InterimUnit) else [unit]

    def trial_units(self) -> list[Unit]:
        """The parts of all runs, as far as they are known.

        In a sequential design a chunk's next part is known once the one before is stored.

        Raises:
            BadInput: As for `bank`.
            Incomplete: The random features are not drawn yet.
        """
        units = [*self.first_units, *self.feature_chunks, *self.random_chunks]
        return [part for unit in units for part in self.parts(unit)]

    def trial_keys(self) -> list[str]:
        """Content keys of these parts."""
        return [unit.key for unit in self.trial_units()]

    def games_keys(self) -> list[str]:
        """Content keys of the games that the features were selected by; none if imported."""
        games = self.selection.games
        return [] if games is None else [unit.key for unit in games.batches(self.model)]

    def effects_unit(self) -> Unit:
        """The tests of all runs.

        Raises:
            BadInput, Incomplete: As for `trial_units`.
        """
        settings = self.settings
        asked = (whole(unit) for unit in (*self.feature_chunks, *self.random_chunks))
        tested = sum(len(chunk.bank) for chunk in asked if chunk.bank is not None)
        return Unit(
            experiment=self.name,
            task="effects",
            kind="effects",
            slug=self.model,
            identity={
                "trials": self.trial_keys(),
                "fdr": settings.fdr,
                "reader": self.read_by,
                "test": settings.statistics.test,
            },
            rows=tested * len(settings.scenes) * len(CONTRASTS) * len(OUTCOMES),
            intact=self._has_documents,
        )

    def _has_documents(self, store: Store) -> bool:
        try:
            for name in DOCUMENTS:
                store.read_json(self.file(name))
        except BadInput:
            return False
        return True

    @property
    def read_by(self) -> str:
        """Name and version of the reader under which the responses are tested."""
        return f"{self.settings.reader}/{reader(self.settings.reader).version}"

    @property
    def effects_key(self) -> str:
        """Content key of the effects of all runs."""
        return self.effects_unit().key

    def effects_ref(self) -> PartRef:
        """The effects.

        Raises:
            Incomplete: They are not tested yet.
            BadInput: As for `bank`.
        """
        ref = self.effects_unit().ref(self.store)
        if ref is None:
            raise Incomplete(
                f"The effects of {self.name} are not tested yet.",
                where=str(self.store.path),
                next=f"Finish {self.name} first.",
            )
        return ref

    def effects(self) -> "pd.DataFrame":
        """The tested effects; raises as `effects_ref`."""
        return self.store.read("effects", [self.effects_ref().key]).to_pandas()

    def causal(self) -> list[tuple[int, int]]:
        """(layer, feature) of the features found causal, ascending; raises as `effects_ref`."""
        return causal_features(self.effects())

    def read_trials(self, keys: Iterable[str]) -> "pd.DataFrame":
        """Rows of finished units, read by the patching's reader."""
        from pitboss.experiments.patching.effects import read_trials

        return read_trials(self.store, self.settings.reader, keys)

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        from pitboss.experiments.patching import effects, findings, random_features, trials

        if unit.kind == "effects":
            return effects.test_all(self)
        if unit.kind == "findings":
            return findings.gather(self, unit.payload)
        assert context is not None  # every unit of runs names its model
        chunk: Chunk = unit.payload
        made = trials.run_chunk(context, self.settings, self.selection.gate, chunk, slots)
        if chunk.role != BASELINE or not self.settings.controls.random_features:
            return made
        random = random_features.draw(self)
        path = random_bank.path_of(self)
        return Outcome(made.tables, made.facts, [lambda _: random.save(path)])

    def judges(self, unit: Unit) -> bool:
        """The unpatched runs alone: what a patch does to responses is a finding."""
        return isinstance(unit.payload, Chunk) and unit.payload.role == BASELINE

    def workload(self) -> list[Workload]:
        return [patching_workload(self)]

    def notes(self) -> Iterable[str]:
        return patching_notes(self)

    def declared(self) -> Declaration:
        document = declare(self)
        return Declaration(document, as_markdown(document))

    def shown(self, unit: Unit) -> Iterable[Artifact]:
        """The checkpoint after a chunk: each feature's stop rates under each value."""
        from pitboss.experiments.patching.effects import checkpoint_rows

        if unit.kind == "trials":
            rows = checkpoint_rows(self.store, self.settings.reader, self.parts(unit))
            title = f"Chunk {unit.slug}, finished and stored"
            yield TableArtifact(f"chunk-{unit.slug}", rows, title)

    def results(self, model: str) -> Iterable[Artifact]:
        return effects_shown(self)

    def summary(self) -> dict[str, Any]:
        return headline(self)
