"""Exp2 in a study file: one feature at a time set to a group's mean."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.games.scenes import STATES
from pitboss.studies.experiment import Counted, ExperimentSettings, Name, Problem, Reads
from pitboss.studies.fields import Count, ReaderName, ScenePrompt, Section, Top, unique
from pitboss.studies.sampling import Sampling

if TYPE_CHECKING:
    from pitboss.studies.model import Study

Some = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Controls(Section):
    """Arms that say how much is found where nothing should be. 0 or false leaves a kind out."""

    random_features: Some = 32
    """Features of the same SAEs that were not selected, each matched to a patched feature in
    decoder norm and, where the study's own statistics allow it, in firing, and set to that
    feature's two values."""

    random_directions: Some = 32
    """Patched features whose own change is written along a random direction of equal norm, one for
    each; in mode delta only."""

    own_value: Some = 8
    """Patched features that are set to the value they have anyway: every response must be that of
    the baseline, letter for letter, or the run fails."""

    reconstruction: bool = True
    """Replace the state by the SAE's reconstruction, layer by layer, without setting a feature:
    what the SAE's error alone does."""


class States(Section):
    """Generated game states, asked in the wording of the two scenes."""

    count: Annotated[int, Field(ge=2, le=1000)] = 24
    """States in which every feature is patched; its effect is tested over all of them at once."""

    held_out: Annotated[int, Field(ge=0, le=1000)] = 24
    """Further states, none of them among the first, in which what was found is confirmed."""

    trials: Annotated[int, Field(ge=1)] = 2
    """Responses drawn for each feature, value and state."""


class Sequential(Section):
    """Interim analyses on the way: a feature of which enough is known is not run further."""

    looks: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    """Trials after which a chunk's features are analysed, ascending; the last is the patching's
    `trials`. Generated states have as large a share of their own trials by then."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Largest share of the tests that can be expected to have an effect. A feature goes on as long
    as it can still reach the evidence that would then be asked for."""

    smallest_effect: Share | None = 0.2
    """Smallest difference of stop rates worth finding: a feature that shows less is given up. null:
    only those that cannot reach the evidence any more are."""

    miss: Share = 0.05
    """Greatest chance to give up a feature whose effect is that large."""


class Statistics(Section):
    """How stopping is tested, and what the declaration says the study can find."""

    test: Literal["fisher", "paired"] = "fisher"
    """fisher compares how often the two arms stop, exactly and within each state; paired compares
    runs with the same noise, decision by decision (McNemar's exact test)."""

    wanted_effect: Share = 0.3
    """Difference of stop rates for which the declaration gives the trials that are needed."""

    wanted_power: Share = 0.8
    """Chance with which an effect is to be found."""

    assumed_share: Share = 0.05
    """Share of the tests that are assumed to have an effect; it decides at which p the correction
    is expected to end."""

    permutations: Annotated[int, Field(ge=0, le=10_000)] = 200
    """Studies with permuted labels, on which the count of causal features is taken again; 0 for
    none."""


class PatchingSettings(ExperimentSettings):
    """Exp2: whether setting one feature to a group's mean changes the decision."""

    flow: ClassVar[str] = "patching"
    carried_out_by: ClassVar[str] = "pitboss.experiments.patching.experiment:Patching"
    number: ClassVar[str] = "Exp2"
    makes: ClassVar[tuple[str, ...]] = ("effects",)
    elastic: ClassVar[bool] = True
    counted: ClassVar[Counted | None] = Counted("trials")

    kind: Literal["patching"]

    bank: Annotated[Name, Reads("bank")]
    """Which features are patched: those of a selection, or those that lead a screening."""

    confirm: Top | None = None
    """How many of the features that lead a screening's ranking are patched, such as 2000 or
    "top 2,000"; features that the screening found to change nothing are never among them. Goes
    with a screening in `bank`."""

    prompts: Annotated[list[ScenePrompt], Field(min_length=1), AfterValidator(unique)] = [
        "exp2/safe",
        "exp2/risky",
    ]
    """The scenes in which the model decides."""

    states: States | None = None
    """Generated states, a scene of their own beside the prompts; leave it out for none."""

    controls: Controls = Controls()
    """Random features and directions, own values and reconstructions, in every run."""

    sequential: Sequential | None = None
    """Analyse the runs on the way and stop where enough is known; leave it out for a fixed number
    of trials."""

    values: Annotated[
        list[Literal["safe", "risky"]], Field(min_length=1), AfterValidator(unique)
    ] = ["safe", "risky"]
    """Values a feature is set to: its mean in games that ended in a stop (safe) or bankrupt
    (risky). The unpatched baseline is always drawn, once per prompt for all features."""

    trials: Count = 20
    """Responses drawn for each feature, value and prompt."""

    mode: Literal["delta", "reconstruct", "reconstruct_only"] = "delta"
    """delta changes one feature and keeps what the SAE cannot express; reconstruct replaces the
    whole state by the SAE's reconstruction, as the original study did; reconstruct_only is the
    control of reconstruct, without setting the feature."""

    positions: Literal["prompt_last", "prompt_last_and_generated"] = "prompt_last_and_generated"
    """Which tokens are patched."""

    chunk: Annotated[int, Field(ge=1, le=100)] = 100
    """Features of one layer that are run and stored as one unit; a stop loses no more than this."""

    reader: ReaderName = "menu"
    """How responses are read."""

    full_response: bool = True
    """Generate to the end (needed to count words) or stop as soon as the decision is certain."""

    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """False discovery rate over all features and prompts (Benjamini-Hochberg)."""

    statistics: Statistics = Statistics()
    """How stopping is tested, and for which effect it is planned."""

    sampling: Sampling = Sampling(max_new_tokens=100)
    """How responses are drawn."""

    @model_validator(mode="after")
    def _screened_patches_are_deltas(self) -> "PatchingSettings":
        if self.confirm is not None and self.mode != "delta":
            raise ValueError(
                f"screening computes mode delta, so it finds no candidates for mode {self.mode}"
            )
        return self

    @model_validator(mode="after")
    def _looks_end_with_the_trials(self) -> "PatchingSettings":
        if self.sequential is None:
            return self
        looks = self.sequential.looks
        if looks != sorted(set(looks)) or looks[-1] != self.trials:
            raise ValueError(
                f"sequential.looks must ascend and end with trials ({self.trials}), not {looks}"
            )
        if len(self.values) < 2:
            raise ValueError("sequential compares the safe with the risky value; name both")
        return self

    @model_validator(mode="after")
    def _no_pseudo_replication(self) -> "PatchingSettings":
        if self.sampling.greedy and self.trials > 1:
            raise ValueError(
                f"temperature 0 repeats the same response, so {self.trials} trials are one; "
                "set trials to 1 or a temperature above 0"
            )
        return self

    @property
    def scenes(self) -> list[str]:
        """In which scenes a feature is tested: the fixed ones, and the set of generated states."""
        return [*self.prompts, *([STATES] if self.states is not None else [])]

    @property
    def runs_a_value(self) -> int:
        """Runs of one feature under one value: all prompts and states, all trials."""
        states = self.states.count * self.states.trials if self.states is not None else 0
        return len(self.prompts) * self.trials + states

    def problems(self, study: "Study", name: str) -> Iterator[Problem]:
        ranked = "ranking" in study.experiments[self.bank].makes
        if ranked != (self.confirm is not None):
            yield Problem(
                ("experiments", name, "confirm"),
                "a screening in bank and confirm (such as top 2,000) go together",
            )
        elif ranked and getattr(study.experiments[self.bank], "selection", None) is None:
            yield Problem(
                ("experiments", name, "bank"),
                f"{self.bank} has no selection, so no safe and risky values to patch to",
            )


class ConfirmationSettings(ExperimentSettings):
    """What was found causal is asked again, in states and with noise that were not used before."""

    flow: ClassVar[str] = "confirmation"
    carried_out_by: ClassVar[str] = "pitboss.experiments.patching.confirmation:Confirmation"
    number: ClassVar[str] = "Exp2"
    makes: ClassVar[tuple[str, ...]] = ("confirmation",)
    elastic: ClassVar[bool] = True
    counted: ClassVar[Counted | None] = Counted("trials")

    kind: Literal["confirmation"]

    patching: Annotated[Name, Reads("effects")]
    """The patching whose causal features are asked again."""

    trials: Annotated[int, Field(ge=1)] = 40
    """Responses for each feature and value in a fixed scene; they have noise of their own."""

    state_trials: Annotated[int, Field(ge=1)] = 2
    """Responses for each feature, value and held-out state."""

    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """False discovery rate among the features asked again (Benjamini-Hochberg, one-sided)."""

    @property
    def own_rules(self) -> dict[str, float]:
        """What it asks for and by which rule, without what it reads."""
        return self.model_dump(exclude={"kind", "patching"})

    def problems(self, study: "Study", name: str) -> Iterator[Problem]:
        first = next(
            n
            for n, s in study.experiments.items()
            if isinstance(s, ConfirmationSettings) and s.patching == self.patching
        )
        if first != name:
            yield Problem(
                ("experiments", name, "patching"),
                f"{self.patching} is confirmed by {first} already",
            )
