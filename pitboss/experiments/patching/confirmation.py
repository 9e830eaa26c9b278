"""What Exp2 found causal, asked again where nothing of the discovery can have leaked in.

A candidate is asked in the scene in which its effect was clearest: in a fixed scene with noise that
the discovery did not use, in generated states with other states as well. A unit is one chunk of
candidates of one layer and scene; it is run as every other unit of patching.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pitboss.analysis.effects import CONFIRMATION, DISCOVERY
from pitboss.analysis.findings import clearest
from pitboss.errors import BadInput
from pitboss.experiments.patching.arms import Arm, Asked, Chunk, asked
from pitboss.experiments.patching.chunks import feature_unit, pieces
from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.patching.findings import findings_unit
from pitboss.experiments.patching.notes import confirmation_notes
from pitboss.experiments.patching.settings import ConfirmationSettings
from pitboss.experiments.patching.workload import confirmation_workload
from pitboss.experiments.runtime.artifacts import Artifact, TableArtifact
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.games.scenes import STATES, scene, state_names
from pitboss.report.tables import finding_rows, strongest_first
from pitboss.studies.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

    from pitboss.experiments.runtime.context import ModelContext


class Confirmation(Experiment[ConfirmationSettings]):
    """The causal features of a patching, in held-out states or with new noise."""

    @cached_property
    def patching(self) -> Patching:
        """The patching whose causal features are asked again."""
        return self.reads(Patching, self.settings.patching)

    @property
    def model(self) -> str:
        """The study's name of the patched model."""
        return self.patching.model

    def stages(self, model: str) -> Stages:
        yield self.chunks
        yield [self.effects_unit()]
        yield [self.findings()]

    @cached_property
    def candidates(self) -> "pd.DataFrame":
        """The features found causal with the scene and direction of their clearest effect.

        Columns layer, feature, prompt, direction.

        Raises:
            Incomplete: The effects of the discovery are missing.
        """
        best = clearest(self.patching.effects())
        return best.loc[best["causal"], ["layer", "feature", "prompt", "direction"]]

    def everywhere(self) -> dict[str, tuple[Asked, ...]]:
        """Where candidates can be asked again, by the scene of their clearest effect."""
        return {name: self.prompts(name) for name in self.patching.settings.scenes}

    def prompts(self, of_scene: str) -> tuple[Asked, ...]:
        """Where candidates of a scene are asked again.

        Raises:
            BadInput: A state or noise of the discovery would be used again.
        """
        again, states = self.settings, self.patching.settings.states
        if of_scene != STATES:
            chosen: tuple[Asked, ...] = (Asked(scene(of_scene), range(again.trials)),)
        else:
            assert states is not None
            first, count = (states.count, states.held_out) if states.held_out else (0, states.count)
            trials = range(again.state_trials)
            chosen = tuple(Asked(scene(name), trials) for name in state_names(first, count))
        self._require_new(of_scene, chosen)
        return chosen

    def _require_new(self, of_scene: str, chosen: tuple[Asked, ...]) -> None:
        settings = self.patching.settings
        before, states = asked(settings), settings.states
        if of_scene == STATES and states is not None and states.held_out:
            texts = {one.prompt.text for one in before}
            if again := [one.prompt.name for one in chosen if one.prompt.text in texts]:
                raise BadInput(
                    f"{len(again)} held-out states belong to the discovery, first {again[0]}.",
                    where=f"{self.patching.name}.states",
                )
        noises = [
            {
                Arm(one, "safe", None, "feature", phase=phase).noise(trial)
                for one in some
                for trial in one.trials
            }
            for some, phase in ((before, DISCOVERY), (chosen, CONFIRMATION))
        ]
        if shared := noises[0] & noises[1]:
            raise BadInput(f"{len(shared)} runs would use noise of the discovery again.")

    @cached_property
    def chunks(self) -> list[Unit]:
        """The chunks of candidates, scene by scene and layer by layer; none if none is causal.

        Raises:
            Incomplete: The effects of the discovery are missing.
        """
        bank, made = self.patching.bank, []
        names = list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
        for of_scene, rows in self.candidates.groupby("prompt", sort=True):
            where = self.prompts(str(of_scene))
            for layer, of_layer in rows.groupby("layer", sort=True):
                wanted = {(layer, int(feature)) for feature in of_layer["feature"]}
                mine = bank.rows([i for i, name in enumerate(names) if name in wanted])
                for start, some in pieces(mine, self.patching.settings.chunk):
                    chunk = Chunk("feature", where, some, phase=CONFIRMATION)
                    prefix = f"again-{str(of_scene).rsplit('/', 1)[-1]}-"
                    unit = feature_unit(self.patching, prefix, bank, chunk, start)
                    made.append(replace(unit, experiment=self.name))
        return made

    def effects_unit(self) -> Unit:
        """The tests of all candidates.

        Raises:
            Incomplete: The effects of the discovery are missing.
        """
        return Unit(
            experiment=self.name,
            task="confirmed",
            kind="effects",
            slug=self.model,
            identity={
                "confirmation": self.settings.own_rules,
                "effects": self.patching.effects_key,
                "trials": [unit.key for unit in self.chunks],
                "reader": self.patching.read_by,
                "test": self.patching.settings.statistics.test,
            },
            rows=2 * len(self.candidates),
        )

    @property
    def key(self) -> str:
        """Content key of the confirmation's effects."""
        return self.effects_unit().key

    def findings(self) -> Unit:
        """What became of every patched feature."""
        return findings_unit(self.patching, self.name, self.key)

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        from pitboss.experiments.patching.findings import gather
        from pitboss.experiments.patching.trials import run_chunk

        patching = self.patching
        if unit.kind == "effects":
            return Outcome({"effects": self._tested()})
        if unit.kind == "findings":
            return gather(patching, unit.payload)
        assert context is not None  # every unit of runs names its model
        return run_chunk(context, patching.settings, patching.selection.gate, unit.payload, slots)

    def _tested(self) -> "pd.DataFrame | list[dict[str, Any]]":
        """Every candidate, tested in the discovery's direction."""
        from pitboss.analysis.confirmation import confirm

        if not len(self.candidates):
            return []
        trials = self.patching.read_trials(unit.key for unit in self.chunks)
        test = self.patching.settings.statistics.test
        return confirm(trials, self.candidates, self.settings.fdr, test=test)

    def workload(self) -> list[Workload]:
        return [confirmation_workload(self)]

    def notes(self) -> Iterable[str]:
        return confirmation_notes(self)

    def preflight(self) -> None:
        """Refuse states or noise of the discovery."""
        self.everywhere()

    def shown(self, unit: Unit) -> Iterable[Artifact]:
        """The checkpoint after a chunk, as in patching."""
        return self.patching.shown(unit)

    def results(self, model: str) -> Iterable[Artifact]:
        """What was found, and whether it was found again."""
        part = self.store.ref("findings", self.findings().key)
        assert part is not None  # asked when everything is finished
        found = self.store.read("findings", [part.key]).to_pandas()
        yield TableArtifact(
            f"{self.name}-findings",
            finding_rows(strongest_first(found[found["causal"]]).head(100)),
            "Features found causal, the clearest first, and whether they were found again",
            rest=part.path,
        )

    def summary(self) -> dict[str, Any]:
        """Features found again."""
        found = self.store.read("findings", [self.findings().key], columns=["confirmed"])
        return {"confirmed_features": sum(x is True for x in found["confirmed"].to_pylist())}
