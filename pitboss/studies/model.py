"""A study: what to run, in one validated tree that also feeds forms and documentation."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pitboss.errors import BadInput
from pitboss.models.catalogue import (
    MODELS,
    SAE_RELEASES,
    ModelSpec,
    model_spec,
    pairing_warnings,
    sae_release,
)
from pitboss.studies.features import Features
from pitboss.studies.fields import NAME_PATTERN, Alias, Pool, Section, unique
from pitboss.studies.games import Games
from pitboss.studies.patching import Patching
from pitboss.studies.pathway import Pathway
from pitboss.studies.persistent import Persistent
from pitboss.studies.quality import Quality
from pitboss.studies.sampling import Sampling
from pitboss.studies.screening import Screening
from pitboss.studies.statistics import Statistics
from pitboss.studies.words import Words


def _known_model(model: str) -> str:
    if model not in MODELS:
        raise ValueError(f"there is no such model; use one of {', '.join(MODELS)}")
    return model


def _known_release(release: str) -> str:
    if release not in SAE_RELEASES:
        raise ValueError(f"there is no such SAE release; use one of {', '.join(SAE_RELEASES)}")
    return release


class ModelChoice(Section):
    """A model and the SAEs that read it."""

    id: Annotated[str, AfterValidator(_known_model)]
    """Model of the catalogue, such as meta-llama/Llama-3.1-8B."""

    sae: Annotated[str, AfterValidator(_known_release)]
    """SAE release of the catalogue, such as llama-scope-lxr-8x."""

    @model_validator(mode="after")
    def _fits(self) -> "ModelChoice":
        try:
            pairing_warnings(self.id, self.sae)
        except BadInput as error:
            raise ValueError(str(error)) from error
        return self


class EngineSettings(Section):
    """How responses are computed; part of what the results depend on."""

    width: Annotated[int, Field(ge=1, le=8192)] = 128
    """Rows of every matrix product, whatever the number of running responses; it is fixed so that
    a response does not depend on its neighbours."""

    games_width: Annotated[int, Field(ge=1, le=8192)] | None = None
    """The same where every response has a prompt of its own, so that fewer fit into memory: games,
    pathway, features and persistent. Empty means the width above."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of weights and states."""

    precision: Literal["model", "fp8"] = "model"
    """fp8: matrix products of the blocks in 8 bits, where the GPU can. Faster, and another result:
    compare both before using it."""

    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Most memory of a GPU that one process takes, in 10⁹ bytes; rows in flight are chosen to fit.
    Empty means what is free. Does not change results."""

    reserve_gb: Annotated[float, Field(ge=0)] | None = 2.0
    """Free memory of a GPU that is always left to others, in 10⁹ bytes: when they need it, rows in
    flight are given up, then the model leaves the GPU until there is room. null: nobody watches.
    Does not change results."""

    def width_of(self, experiment: str) -> int:
        """The width of one experiment, such as games or patching."""
        own_prompts = experiment in ("games", "pathway", "features", "persistent")
        return self.games_width or self.width if own_prompts else self.width


class Floor(Section):
    """Which work pool, and so which device, carries out which part."""

    games: dict[Alias, Pool]
    """Pool of each model's games."""

    features: dict[Alias, Pool]
    """Pool of each model's feature statistics."""

    pathway: Pool
    """Pool of the pathway games."""

    patching: Annotated[list[Pool], Field(min_length=1), AfterValidator(unique)]
    """Pools that share the patching chunks."""

    screening: Pool | None = None
    """Pool of the screening; empty means the first of the patching pools."""

    words: Pool
    """Pool of the token and word analysis."""

    persistent: Annotated[list[Pool], Field(min_length=1), AfterValidator(unique)] | None = None
    """Pools that share the games under patches that stay; empty means the patching pools."""

    approval: Literal["none", "required"] = "none"
    """required: the campaign starts nothing before a person chose an option for the patching, and
    patching runs on the GPUs of that choice instead of the pools above. See docs/approval.md."""


class Study(Section):
    """Everything that determines a study's results, and where it runs."""

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=60)]
    """Name of the study and of its results folder: small letters, digits and hyphens."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """All randomness is counted from this number."""

    models: Annotated[dict[Alias, ModelChoice], Field(min_length=1)]
    """The study's models by the names it uses for them."""

    engine: EngineSettings = EngineSettings()
    """How responses are computed."""

    games: Games
    """Exp0: slot-machine games."""

    features: Features
    """Selection of features from the games of Exp0."""

    pathway: Pathway
    """Exp1: activations layer by layer, from games of both endings."""

    screening: Screening | None = None
    """Exp2's question answered from the first token's logits; leave it out for none."""

    patching: Patching
    """Exp2: one feature at a time set to a group's mean."""

    statistics: Statistics = Statistics()
    """How patching is tested, and for which effect it is planned."""

    words: Words
    """Exp3: tokens and words of the causal features."""

    persistent: Persistent | None = None
    """Exp5: whole games under a patch that stays; leave it out for none."""

    quality: Quality | None = Quality()
    """What responses must be like for their experiment to go on. null: none is stopped for its
    responses. Changes no result."""

    floor: Floor
    """Which work pools run what; changes no result."""

    @model_validator(mode="after")
    def _models_are_declared(self) -> "Study":
        for where, used in (
            ("games.models", self.games.models),
            ("features.models", self.features.models),
            ("pathway.model", [self.pathway.model]),
            ("patching.model", [self.patching.model]),
            ("words.model", [self.words.model]),
            ("floor.games", list(self.floor.games)),
            ("floor.features", list(self.floor.features)),
        ):
            _subset(where, used, "models", list(self.models))
        return self

    @model_validator(mode="after")
    def _experiments_feed_each_other(self) -> "Study":
        _subset("features.models", self.features.models, "games.models", self.games.models)
        _subset("patching.model", [self.patching.model], "features.models", self.features.models)
        _subset("words.model", [self.words.model], "patching.model", [self.patching.model])
        describe = self.words.describe
        if describe is not None and describe.url is None:
            _subset("words.describe.model", [describe.model], "models", list(self.models))
        _subset("games.models", self.games.models, "floor.games", list(self.floor.games))
        _subset(
            "features.models", self.features.models, "floor.features", list(self.floor.features)
        )
        return self

    @model_validator(mode="after")
    def _screening_is_fed(self) -> "Study":
        screening, patching = self.screening, self.patching
        if screening is None:
            if patching.screen:
                raise ValueError("patching.screen: true needs a screening section")
            return self
        _subset("screening.model", [screening.model], "features.models", self.features.models)
        if screening.features == "all" and self.features.imported is not None:
            raise ValueError(
                "screening.features: all needs the statistics of the study's own games, but "
                "features.imported takes a table of some features from elsewhere"
            )
        if patching.screen and patching.model != screening.model:
            raise ValueError(
                f"patching.screen: true patches {patching.model}, but screening.model is "
                f"{screening.model}"
            )
        return self

    @model_validator(mode="after")
    def _persistent_is_fed(self) -> "Study":
        if self.persistent is not None:
            alias = self.persistent.model
            _subset("persistent.model", [alias], "patching.model", [self.patching.model])
        return self

    @model_validator(mode="after")
    def _layers_have_saes(self) -> "Study":
        wanted = [
            ("features.layers", alias, self.features.layers) for alias in self.features.models
        ]
        wanted.append(("pathway.layers", self.pathway.model, self.pathway.layers))
        for where, alias, layers in wanted:
            model, release = self.spec(alias), sae_release(self.models[alias].sae)
            missing = [x for x in layers if x >= model.n_layers or x not in release.layers]
            if missing:
                raise ValueError(
                    f"{where}: {release.id} on {model.id} ({model.n_layers} layers) "
                    f"has no SAE for {missing}"
                )
        return self

    def determining(self) -> dict[str, Any]:
        """All settings that results depend on, as JSON: what merely places or stops work is not."""
        settings = self.model_dump(mode="json", exclude={"floor", "quality"})
        for name in ("memory_gb", "reserve_gb"):
            del settings["engine"][name]
        return settings

    def spec(self, alias: str) -> ModelSpec:
        """The catalogue's entry of a model of this study."""
        return model_spec(self.models[alias].id)


def _subset(where: str, used: list[str], source: str, known: list[str]) -> None:
    strangers = sorted(set(used) - set(known))
    if strangers:
        raise ValueError(
            f"{where} needs {', '.join(strangers)}, but {source} has only {', '.join(known)}"
        )


__all__ = [
    "EngineSettings",
    "Features",
    "Floor",
    "Games",
    "ModelChoice",
    "Pathway",
    "Patching",
    "Persistent",
    "Quality",
    "Sampling",
    "Screening",
    "Study",
    "Words",
]
