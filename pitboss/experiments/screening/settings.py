"""The screening in a study file: Exp2's question, computed instead of sampled."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.studies.experiment import Counted, ExperimentSettings, Name, Problem, Reads
from pitboss.studies.fields import Alias, ChoicePrompt, Count, Gate, Layers, unique

if TYPE_CHECKING:
    from pitboss.studies.model import Study

OF_GROUPS = ("safe", "risky")
_ORDER = (*OF_GROUPS, "off", "most")


def contrasted(values: Collection[str]) -> tuple[str, str] | None:
    """The two values that are compared, first minus second; None where there are not two."""
    first, *second = (name for name in _ORDER if name in values)
    return (first, second[0]) if len(second) == 1 else None


class ScreeningSettings(ExperimentSettings):
    """The same question as Exp2's, computed from the first token's logits instead of sampled."""

    flow: ClassVar[str] = "screening"
    carried_out_by: ClassVar[str] = "pitboss.experiments.screening.experiment:Screening"
    makes: ClassVar[tuple[str, ...]] = ("ranking", "bank")
    counted: ClassVar[Counted | None] = Counted("screening")

    kind: Literal["screening"]

    selection: Annotated[Name | None, Reads("features")] = None
    """The selection whose model, layers, gate and values are used. Without one, name model and
    layers here: every feature of these layers is set to `off` and to `most`."""

    model: Alias | None = None
    """Which model is patched, where there is no selection."""

    layers: Layers | None = None
    """Decoder blocks whose features are patched, counted from 0, where there is no selection."""

    gate: Gate | None = None
    """Activation threshold of the SAEs, where there is no selection; empty means sae_lens."""

    features: Literal["selected", "all"] = "selected"
    """The selected features, or every feature of every layer of the selection; the values are then
    the group means of its own statistics. Without a selection always all."""

    prompts: Annotated[list[ChoicePrompt], Field(min_length=1), AfterValidator(unique)] = [
        "exp2/safe",
        "exp2/risky",
    ]
    """The scenes in which the model decides; their first token must make the decision."""

    states: Count | None = None
    """How many generated states are screened beside the scenes, in their wording."""

    values: (
        Annotated[
            list[Literal["safe", "risky", "off", "most"]],
            Field(min_length=1),
            AfterValidator(unique),
        ]
        | None
    ) = None
    """Values a feature is set to: the means of the selection's groups (safe, risky), 0 (off), or
    its largest activation in the screened scenes (most). Empty means safe and risky with a
    selection, off and most without one."""

    min_decided_mass: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least probability, without a patch, that the first token is one of the choices; a prompt
    below it is refused."""

    max_unexplained: Annotated[float, Field(gt=0, le=2)] | None = None
    """Largest fraction of the residual stream's variance in these prompts that an SAE may miss;
    one that misses more is refused, and so is one that fits a neighbouring layer better. Empty
    means 0.5 without a selection; with one, its own setting holds."""

    mass: bool | None = None
    """Compute this probability for every patch too, which takes the whole unembedding; without it,
    probabilities are among the choices alone. Empty means yes for selected features, no for all."""

    rank_by: Literal["contrast", "shift"] = "contrast"
    """What the features are ranked by: the largest difference of the log odds of stopping between
    the two values (safe and risky: what patching tests), or their largest shift against no
    patch."""

    chunk: Annotated[int, Field(ge=1, le=1 << 20)] = 1 << 15
    """Features of one layer that are computed and stored as one unit."""

    width: Annotated[int, Field(ge=1, le=1 << 16)] = 4096
    """Rows of every matrix product; more are faster on a large GPU and take more memory."""

    @model_validator(mode="after")
    def _consistent(self) -> "ScreeningSettings":
        names = ("model", "layers", "gate", "max_unexplained")
        own = [name for name in names if getattr(self, name) is not None]
        if self.selection is not None and own:
            raise ValueError(f"the selection has its own {', '.join(own)}; leave them out")
        if self.selection is None and (self.model is None or self.layers is None):
            raise ValueError("name a selection, or a model and its layers")
        if self.selection is None and set(self.named_values) & set(OF_GROUPS):
            raise ValueError("safe and risky are means of a selection's groups; name a selection")
        if self.rank_by == "contrast" and len(self.named_values) != 2:
            raise ValueError("rank_by: contrast needs two values; name two, or rank_by: shift")
        return self

    @property
    def named_values(self) -> list[str]:
        """What every feature is set to."""
        if self.values is not None:
            return list(self.values)
        return list(OF_GROUPS) if self.selection is not None else ["off", "most"]

    @property
    def every_feature(self) -> bool:
        """Whether all features of the layers are screened, not only selected ones."""
        return self.selection is None or self.features == "all"

    @property
    def with_mass(self) -> bool:
        """Whether the probability that anything is decided is computed for every patch."""
        return not self.every_feature if self.mass is None else self.mass

    def sae_layers(self, study: "Study") -> dict[str, list[int]]:
        return {self.model: self.layers} if self.model and self.layers else {}

    def problems(self, study: "Study", name: str) -> Iterator[Problem]:
        if self.selection is None:
            return
        selection = study.experiments[self.selection]
        if self.features == "all" and getattr(selection, "imported", None) is not None:
            yield Problem(
                ("experiments", name, "features"),
                f"all needs the statistics of the study's own games, but {self.selection} imports "
                "a table of some features from elsewhere",
            )
