"""Exp2 in a study file: one feature at a time set to a group's mean."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.studies.controls import Confirmation, Controls, States
from pitboss.studies.fields import Alias, Count, ReaderName, ScenePrompt, Section, Top, unique
from pitboss.studies.sampling import Sampling
from pitboss.studies.statistics import Sequential


class Patching(Section):
    """Exp2: whether setting one feature to a group's mean changes the decision."""

    model: Alias
    """Which model is patched; its selected features are used."""

    screen: bool = False
    """Screen first (see the screening section) and patch only the features that `confirm` names."""

    confirm: Top | None = None
    """How many of the features that lead the screening's ranking are patched, such as 2000 or
    "top 2,000"; features that the screening found to change nothing are never among them."""

    prompts: Annotated[list[ScenePrompt], Field(min_length=1), AfterValidator(unique)] = [
        "exp2/safe",
        "exp2/risky",
    ]
    """The scenes in which the model decides."""

    states: States | None = None
    """Generated states, a scene of their own beside the prompts; leave it out for none."""

    controls: Controls = Controls()
    """Random features and directions, own values and reconstructions, in every run."""

    confirmation: Confirmation | None = None
    """Ask again what was found causal; leave it out for none."""

    sequential: Sequential | None = None
    """Look at the runs on the way and stop where enough is known; leave it out for a fixed number
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

    sampling: Sampling = Sampling(max_new_tokens=100)
    """How responses are drawn."""

    @model_validator(mode="after")
    def _screened_patches_are_deltas(self) -> "Patching":
        if self.screen != (self.confirm is not None):
            raise ValueError("screen: true and confirm (such as top 2,000) go together")
        if self.screen and self.mode != "delta":
            raise ValueError(
                f"screening computes mode delta, so it finds no candidates for mode {self.mode}"
            )
        return self

    @model_validator(mode="after")
    def _looks_end_with_the_trials(self) -> "Patching":
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
    def _no_pseudo_replication(self) -> "Patching":
        if self.sampling.greedy and self.trials > 1:
            raise ValueError(
                f"temperature 0 repeats the same response, so {self.trials} trials are one; "
                "set trials to 1 or a temperature above 0"
            )
        return self
