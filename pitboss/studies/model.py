"""A study: what to run, in one validated tree that also feeds forms and documentation."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializeAsAny, model_validator

from pitboss.errors import BadInput
from pitboss.models.catalogue import (
    MODELS,
    SAE_RELEASES,
    ModelSpec,
    model_spec,
    pairing_warnings,
    sae_release,
)
from pitboss.studies.experiment import ExperimentSettings, Name, Problem
from pitboss.studies.fields import NAME_PATTERN, Alias, Pool, Section, unique
from pitboss.studies.quality import Quality


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
    """The same where every response has a prompt of its own, as in games, so that fewer fit into
    memory. Empty means the width above."""

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

    def width_of(self, *, own_prompts: bool) -> int:
        """The width of an experiment whose responses have prompts of their own, or share some."""
        return self.games_width or self.width if own_prompts else self.width


Pools = (
    Pool | Annotated[list[Pool], Field(min_length=1), AfterValidator(unique)] | dict[Alias, Pool]
)


class Floor(Section):
    """Which work pools, and so which devices, carry out what; changes no result."""

    pools: dict[Name, Pools] = {}
    """By experiment: a pool, a list of pools that share its work, or a pool for each model. An
    experiment that is not named here uses every worker there is."""

    approval: Literal["none", "required"] = "none"
    """required: the campaign starts nothing before a person chose where it may run, and everything
    runs on the GPUs of that choice instead of the pools above. See docs/approval.md."""


class Study(Section):
    """Everything that determines a study's results, and where it runs.

    Study files are read as the type of `pitboss.experiments.registry`, which knows every kind of
    experiment.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=60)]
    """Name of the study and of its results folder: small letters, digits and hyphens."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """All randomness is counted from this number."""

    models: Annotated[dict[Alias, ModelChoice], Field(min_length=1)]
    """The study's models by the names it uses for them."""

    engine: EngineSettings = EngineSettings()
    """How responses are computed."""

    experiments: Annotated[dict[Name, SerializeAsAny[ExperimentSettings]], Field(min_length=1)]
    """What is done, each under a name of the study's own: any kinds, any number of each."""

    quality: Quality | None = Quality()
    """What responses must be like for their experiment to go on. null: none is stopped for its
    responses. Changes no result."""

    floor: Floor = Floor()
    """Which work pools run what; leave it out to use every worker. Changes no result."""

    def determining(self) -> dict[str, Any]:
        """All settings that results depend on, as JSON: what merely places or stops work is not."""
        settings = self.model_dump(mode="json", exclude={"floor", "quality"})
        for name in ("memory_gb", "reserve_gb"):
            del settings["engine"][name]
        return settings

    def spec(self, alias: str) -> ModelSpec:
        """The catalogue's entry of a model of this study."""
        return model_spec(self.models[alias].id)

    def in_order(self) -> list[str]:
        """Names of the experiments, each behind all that it reads; the file's order otherwise.

        Raises:
            BadInput: They read each other in a circle.
        """
        ordered: list[str] = []
        waiting = list(self.experiments)
        while waiting:
            ready = next((n for n in waiting if self.reads(n) <= set(ordered)), None)
            if ready is None:
                raise BadInput(
                    f"The experiments {', '.join(waiting)} read each other in a circle.",
                    where=f"study {self.name}",
                )
            ordered.append(ready)
            waiting.remove(ready)
        return ordered

    def aliases_of(self, name: str) -> list[str]:
        """The models of an experiment: its own, or those of what it reads first."""
        settings = self.experiments[name]
        if aliases := settings.aliases():
            return aliases
        first = next(settings.references(), None)
        return self.aliases_of(first.name) if first else []

    def reads(self, name: str) -> set[str]:
        """The experiments that one reads directly."""
        return {reference.name for reference in self.experiments[name].references()}

    def problems(self) -> list[Problem]:
        """What is wrong with the study as a whole, though each of its sections is well formed."""
        found = [*self._unknown_models(), *self._references(), *self._floor()]
        if found:
            return found
        try:
            self.in_order()
        except BadInput as error:
            return [Problem(("experiments",), error.what)]
        for name, settings in self.experiments.items():
            found += settings.problems(self, name)
        return found or list(self._layers_without_sae())

    def _unknown_models(self) -> Iterator[Problem]:
        known = ", ".join(self.models)
        for name, settings in self.experiments.items():
            for alias in settings.aliases():
                if alias not in self.models:
                    place = (
                        "experiments",
                        name,
                        "model" if "model" in type(settings).model_fields else "models",
                    )
                    yield Problem(place, f"the study has no model {alias!r}; it has {known}")

    def _references(self) -> Iterator[Problem]:
        for name, settings in self.experiments.items():
            for field, other, product in settings.references():
                makers = [
                    n for n, s in self.experiments.items() if product in s.makes and n != name
                ]
                if other not in makers:
                    fits = f"use one of {', '.join(makers)}" if makers else "the study has none"
                    yield Problem(
                        ("experiments", name, field),
                        f"{other!r} is no other experiment with {product} to read; {fits}",
                    )

    def _floor(self) -> Iterator[Problem]:
        for name, pools in self.floor.pools.items():
            place = ("floor", "pools", name)
            if name not in self.experiments:
                known = ", ".join(self.experiments)
                yield Problem(place, f"the study has no experiment {name!r}; it has {known}")
                continue
            settings = self.experiments[name]
            if isinstance(pools, list) and not settings.elastic and len(pools) > 1:
                yield Problem(
                    place, f"one worker at a time carries out {name}; name one pool, or one a model"
                )
            if isinstance(pools, dict):
                aliases = self.aliases_of(name)
                if missing := sorted(set(aliases) - set(pools)):
                    yield Problem(place, f"names no pool for {', '.join(missing)}")
                if strangers := sorted(set(pools) - set(aliases)):
                    yield Problem(place, f"{name} does not use {', '.join(strangers)}")

    def _layers_without_sae(self) -> Iterator[Problem]:
        for name, settings in self.experiments.items():
            for alias, layers in settings.sae_layers(self).items():
                model, release = self.spec(alias), sae_release(self.models[alias].sae)
                missing = [x for x in layers if x >= model.n_layers or x not in release.layers]
                if missing:
                    yield Problem(
                        ("experiments", name, "layers"),
                        f"{release.id} on {model.id} ({model.n_layers} layers) has no SAE for "
                        f"{missing}",
                    )
