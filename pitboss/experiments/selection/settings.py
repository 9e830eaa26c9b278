"""The statistics in a study file: which SAE features are looked at, and which are selected."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.studies.experiment import Counted, ExperimentSettings, Name, Problem, Reads
from pitboss.studies.fields import (
    MAX_UNEXPLAINED,
    Alias,
    Count,
    FeatureIds,
    Gate,
    Layers,
    Probability,
    Section,
    unique,
)

if TYPE_CHECKING:
    from pitboss.studies.model import Study


class ImportedTable(Section):
    """A table of feature statistics from elsewhere, and the space its ids and values belong to."""

    path: Annotated[str, Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*\.json$")]
    """JSON file of the repository: a list of {layer, feature_id, p_value, cohens_d, bankrupt_mean,
    safe_mean}."""

    space: Literal["sae", "hidden"]
    """Ids of SAE features, or dimensions of the residual stream (never usable as features)."""

    model: str
    """Model whose activations were taken."""

    sae: str
    """SAE release whose features the ids are."""

    gate: Gate
    """Gate under which the values were taken."""

    hook_point: str
    """Where the activations were taken, such as blocks.{layer}.hook_resid_post."""

    token: Literal["prompt_last"]
    """Token whose activations were taken."""

    d_sae: Count
    """Features of one layer's SAE."""


class SelectionSettings(ExperimentSettings):
    """SAE features that differ between games that end bankrupt and games that end in a stop."""

    flow: ClassVar[str] = "features"
    carried_out_by: ClassVar[str] = "pitboss.experiments.selection.experiment:Selection"
    makes: ClassVar[tuple[str, ...]] = ("features", "bank")
    own_prompts: ClassVar[bool] = True
    counted: ClassVar[Counted | None] = Counted("sums", rows=2)

    kind: Literal["selection"]

    model: Alias
    """Whose games the statistics are taken from, and whose SAEs' features these are."""

    games: Annotated[Name | None, Reads("games")] = None
    """The games that are compared; leave it out where the statistics are imported."""

    layers: Layers
    """Decoder blocks whose output is encoded, counted from 0."""

    gate: Gate = "sae_lens"
    """Activation threshold of the SAEs: none (relu, as the original study), as sae-lens loads it,
    or as the SAE's authors define it."""

    min_abs_d: Annotated[float, Field(ge=0)] = 0.3
    """Smallest absolute Cohen's d of a selected feature."""

    max_p: Probability = 0.001
    """Largest p value (Welch's t) of a selected feature."""

    fdr: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """False discovery rate over all features of all layers (Benjamini-Hochberg)."""

    per_layer: Annotated[int, Field(ge=0)] = 300
    """At most this many features per layer, those of largest absolute d; fewer where fewer pass."""

    min_fired: Annotated[int, Field(ge=0)] = 10
    """Decision points at which a selected feature is active at least."""

    min_group: Annotated[int, Field(ge=2)] = 20
    """Smallest group (bankrupt, stopped) for which statistics are computed at all."""

    count: Literal["states", "decisions"] = "states"
    """What counts as one observation: each distinct prompt once in a group, because equal prompts
    give equal activations, or every game's last decision. The values that features are set to are
    the means over all decisions either way."""

    adjust: Literal["none", "covariates", "matched"] = "covariates"
    """What the groups are compared at equal values of: nothing (as the original study); the
    covariates below, by regression; or exactly equal balance and round, within cells that hold both
    groups, weighted by n_risky x n_safe / n. The unadjusted numbers are stored too."""

    covariates: Annotated[
        list[Literal["balance", "log_balance", "round", "log_round", "variable"]],
        Field(min_length=1),
        AfterValidator(unique),
    ] = ["balance", "round", "variable"]
    """What the regression holds equal; variable is 1 where the stake is free. With the logarithms,
    features that follow balance or round along a curve are caught too, at a price in certainty."""

    errors: Literal["robust", "classical"] = "robust"
    """Standard errors of the adjusted difference: from leaving out each distinct prompt in turn, or
    those of independent decisions of equal variance."""

    include: Literal["none", "planted"] | FeatureIds = "none"
    """Features taken in besides the selected ones: none, the planted ones of the lab SAEs, or ids
    per layer."""

    max_unexplained: Annotated[float, Field(gt=0, le=2)] = MAX_UNEXPLAINED
    """Largest share of the residual stream's variance that an SAE may leave unexplained on the
    games' prompts; a layer above it, or one that fits a neighbouring layer better, is refused."""

    imported: ImportedTable | None = None
    """Take the statistics from this table instead of from the study's own games. Only the |d|, p
    and per_layer rules apply; nobody knows how many features its makers tested."""

    @model_validator(mode="after")
    def _games_or_table(self) -> "SelectionSettings":
        if (self.imported is None) == (self.games is None):
            raise ValueError("name the games that are compared, or a table to be imported")
        if self.imported is not None and self.include != "none":
            raise ValueError("imported goes with include: none")
        return self

    @model_validator(mode="after")
    def _included_layers_are_encoded(self) -> "SelectionSettings":
        if isinstance(self.include, dict):
            strangers = sorted(set(self.include) - set(self.layers))
            if strangers:
                raise ValueError(f"include names layers that are not in layers: {strangers}")
        return self

    def sae_layers(self, study: "Study") -> dict[str, list[int]]:
        return {self.model: self.layers}

    def problems(self, study: "Study", name: str) -> Iterator[Problem]:
        if self.games is not None and self.model not in study.experiments[self.games].aliases():
            yield Problem(
                ("experiments", name, "model"), f"{self.model} does not play in {self.games}"
            )
