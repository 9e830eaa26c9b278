"""The screening in a study file: Exp2's question, computed instead of sampled."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.studies.fields import Alias, ChoicePrompt, Section, unique


class Screening(Section):
    """The same question as Exp2's, computed from the first token's logits instead of sampled."""

    model: Alias
    """Which model is patched."""

    features: Literal["selected", "all"] = "selected"
    """The selected features, or every feature of every layer of the features section; the values
    are then the group means of the study's own statistics."""

    prompts: Annotated[list[ChoicePrompt], Field(min_length=1), AfterValidator(unique)] = [
        "exp2/safe",
        "exp2/risky",
    ]
    """The scenes in which the model decides; their first token must make the decision."""

    values: Annotated[
        list[Literal["safe", "risky"]], Field(min_length=1), AfterValidator(unique)
    ] = ["safe", "risky"]
    """Values a feature is set to, as in the patching section."""

    min_decided_mass: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least probability, without a patch, that the first token is one of the choices; a prompt
    below it is refused."""

    mass: bool | None = None
    """Compute this probability for every patch too, which takes the whole unembedding; without it,
    probabilities are among the choices alone. Empty means yes for selected features, no for all."""

    rank_by: Literal["contrast", "shift"] = "contrast"
    """What the features are ranked by: the largest difference of the log odds of stopping between
    the safe and the risky value, which is what patching tests, or their largest shift against no
    patch."""

    chunk: Annotated[int, Field(ge=1, le=1 << 20)] = 1 << 15
    """Features of one layer that are computed and stored as one unit."""

    width: Annotated[int, Field(ge=1, le=1 << 16)] = 4096
    """Rows of every matrix product; more are faster on a large GPU and take more memory."""

    @model_validator(mode="after")
    def _contrast_has_two_sides(self) -> "Screening":
        if self.rank_by == "contrast" and len(self.values) < 2:
            raise ValueError("rank_by: contrast needs both values; name both, or rank_by: shift")
        return self

    @property
    def with_mass(self) -> bool:
        """Whether the probability that anything is decided is computed for every patch."""
        return self.features == "selected" if self.mass is None else self.mass
