"""The controls that every patching run carries, and the states in which it asks."""

from typing import Annotated

from pydantic import Field

from pitboss.studies.fields import Section

Some = Annotated[int, Field(ge=0)]


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


class Confirmation(Section):
    """What was found causal is asked again, in states and with noise that were not used before."""

    trials: Annotated[int, Field(ge=1)] = 40
    """Responses for each feature and value in a fixed scene; they have noise of their own."""

    state_trials: Annotated[int, Field(ge=1)] = 2
    """Responses for each feature, value and held-out state."""

    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """False discovery rate among the features asked again (Benjamini-Hochberg, one-sided)."""
