"""The experiments of a study and everything that can be set about each."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.games.conditions import ALL_CONDITIONS, Condition
from pitboss.games.prompts import PROMPTS
from pitboss.studies.controls import Confirmation, Controls, States
from pitboss.studies.fields import (
    Alias,
    Aliases,
    ChoicePrompt,
    ConditionKeys,
    FeatureIds,
    GamePrompt,
    Gate,
    Layers,
    Probability,
    ReaderName,
    ScenePrompt,
    Section,
    Top,
    unique,
)
from pitboss.studies.sampling import Sampling, refuse_greedy_retries
from pitboss.studies.statistics import Sequential
from pitboss.studies.words import Contexts, Describe

Count = Annotated[int, Field(ge=1)]


ConditionGroup = Literal["all", "fixed", "variable"]


def conditions_of(keys: ConditionGroup | list[str]) -> tuple[Condition, ...]:
    if isinstance(keys, str):
        return tuple(c for c in ALL_CONDITIONS if keys in ("all", c.bet_type))
    return tuple(Condition.parse(key) for key in keys)


def prompt_exists_for(prompt: str, conditions: tuple[Condition, ...]) -> None:
    kind = PROMPTS[prompt]
    if not all(kind.exists_for(condition) for condition in conditions):
        known = ", ".join(sorted(kind.conditions or ()))
        one = "condition" if len(kind.conditions or ()) == 1 else "conditions"
        raise ValueError(f"prompt {prompt} exists for the {one} {known} only")


class Games(Section):
    """Exp0: slot-machine games from the first round to their end."""

    models: Aliases
    """Which of the study's models play."""

    prompt: GamePrompt = "exp0/planned"
    """Which prompt text the player sees."""

    conditions: ConditionGroup | ConditionKeys = "all"
    """Prompt conditions such as variable/GMRWP, or all 64, or the 32 of one bet type."""

    repetitions: Count = 50
    """Games in each condition, per model."""

    max_rounds: Count = 100
    """Rounds after which a game ends without bankruptcy or stop."""

    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a decision is asked again after a response without a playable decision; then the
    game is aborted and counted as such."""

    reader: ReaderName = "menu"
    """How responses are read. The original-* readers make up decisions; they exist to reproduce
    old numbers."""

    full_response: bool = False
    """Let a response go on after its decision is certain, to the model's own end or the token
    limit."""

    batch: Annotated[int, Field(ge=1, le=4096)] = 64
    """Games that are played together and stored as one file."""

    sampling: Sampling = Sampling(max_new_tokens=1024, min_new_tokens=10)
    """How responses are drawn."""

    token_limits: dict[Alias, Count] = {}
    """A model's own limit on the tokens of a response, where it differs from the sampling's."""

    @model_validator(mode="after")
    def _consistent(self) -> "Games":
        refuse_greedy_retries(self.sampling, self.retries)
        prompt_exists_for(self.prompt, self.resolved_conditions)
        strangers = sorted(set(self.token_limits) - set(self.models))
        if strangers:
            raise ValueError(f"token_limits names models that do not play: {', '.join(strangers)}")
        for alias in self.token_limits:
            self.sampling_for(alias)
        return self

    @property
    def resolved_conditions(self) -> tuple[Condition, ...]:
        """The conditions to play, in the order given (for a group, that of the design)."""
        return conditions_of(self.conditions)

    def sampling_for(self, alias: str) -> Sampling:
        """The sampling of one model, with its own token limit."""
        limit = self.token_limits.get(alias, self.sampling.max_new_tokens)
        return Sampling(**(self.sampling.model_dump() | {"max_new_tokens": limit}))


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


class Features(Section):
    """SAE features that differ between games that end bankrupt and games that end in a stop."""

    models: Aliases
    """Whose games the statistics are taken from."""

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

    max_unexplained: Annotated[float, Field(gt=0, le=2)] = 0.5
    """Largest share of the residual stream's variance that an SAE may leave unexplained on the
    games' prompts; a layer above it, or one that fits a neighbouring layer better, is refused."""

    imported: ImportedTable | None = None
    """Take the statistics from this table instead of from the study's own games. Only the |d|, p
    and per_layer rules apply; nobody knows how many features its makers tested."""

    @model_validator(mode="after")
    def _imported_stands_alone(self) -> "Features":
        if self.imported is not None and (len(self.models) > 1 or self.include != "none"):
            raise ValueError("imported goes with one model and with include: none")
        return self

    @model_validator(mode="after")
    def _included_layers_are_encoded(self) -> "Features":
        if isinstance(self.include, dict):
            strangers = sorted(set(self.include) - set(self.layers))
            if strangers:
                raise ValueError(f"include names layers that are not in layers: {strangers}")
        return self


class Pathway(Section):
    """Exp1: which features carry the decision, layer by layer and round by round."""

    model: Alias
    """Which model plays."""

    prompt: GamePrompt = "exp0/planned"
    """Which prompt text the player sees."""

    conditions: ConditionGroup | ConditionKeys
    """Conditions, played in turn until both quotas are filled; a list, all, fixed or variable."""

    bankruptcies: Count = 25
    """Games that end in bankruptcy to collect."""

    stops: Count = 25
    """Games that end in a voluntary stop to collect."""

    max_games: Count = 1000
    """Games after which collecting ends even if a quota is short; the shortfall is reported."""

    batch: Annotated[int, Field(ge=1, le=4096)] = 64
    """Games that are played together."""

    max_rounds: Count = 100
    """Rounds after which a game ends without bankruptcy or stop."""

    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """How often a decision is asked again after a response without a playable decision."""

    layers: Layers
    """Decoder blocks whose activations are kept at every round, counted from 0."""

    gate: Gate = "sae_lens"
    """Activation threshold of the SAEs, as in the features section."""

    top_features: Count = 20
    """Features shown per layer: those that differ most between stop and bet."""

    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Parts that the games are dealt into to see how well a decision can be decoded: what is fitted
    on the others is scored on each."""

    residual: bool = True
    """Decode from the residual stream itself too, besides the SAEs' activations."""

    scenes: Annotated[list[ChoicePrompt], AfterValidator(unique)] = ["exp2/safe", "exp2/risky"]
    """Scenes whose decision is attributed to the features of each layer, to first order and by
    setting each to 0; empty for none."""

    reader: ReaderName = "menu"
    """How responses are read."""

    full_response: bool = False
    """Let a response go on after its decision is certain, as in the games section."""

    sampling: Sampling = Sampling(max_new_tokens=1024, min_new_tokens=10)
    """How responses are drawn."""

    @model_validator(mode="after")
    def _consistent(self) -> "Pathway":
        refuse_greedy_retries(self.sampling, self.retries)
        prompt_exists_for(self.prompt, self.resolved_conditions)
        if self.max_games < self.bankruptcies + self.stops:
            raise ValueError(
                f"max_games ({self.max_games}) is below the quotas "
                f"({self.bankruptcies} + {self.stops})"
            )
        return self

    @property
    def resolved_conditions(self) -> tuple[Condition, ...]:
        """The conditions to play, in the order they are taken in turn."""
        return conditions_of(self.conditions)


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


class Words(Section):
    """Exp3: which tokens a causal feature promotes and which words its responses use."""

    model: Alias
    """Whose causal features are looked at; the patched model."""

    top_tokens: Annotated[int, Field(ge=1, le=1000)] = 50
    """Tokens listed per feature."""

    matrix: Literal["unembedding", "input_embedding"] = "unembedding"
    """What a feature's decoder row is compared with: the unembedding behind the final norm, or
    the input embedding as in the original study."""

    prior: Annotated[float, Field(gt=0)] = 0.01
    """Pseudo-count per word in the log-odds of word rates (Monroe et al. 2008)."""

    contexts: Contexts | None = Contexts()
    """Where each causal feature is most active in stored texts; null for not at all."""

    describe: Describe | None = None
    """Have a language model describe each causal feature; leave it out for none."""

    @model_validator(mode="after")
    def _descriptions_need_contexts(self) -> "Words":
        if self.describe is not None and self.contexts is None:
            raise ValueError("describe shows contexts to its writer, but contexts is null")
        return self
