"""Field types that several parts of a study share."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from pitboss.errors import BadInput
from pitboss.games.conditions import Condition
from pitboss.games.prompts import PROMPTS
from pitboss.games.reading import READERS
from pitboss.models.catalogue import MODELS

NAME_PATTERN = "^[a-z0-9][a-z0-9-]*$"

MAX_UNEXPLAINED = 0.5
"""Largest fraction of its layer's variance that an SAE may miss, where a study says nothing."""


class Section(BaseModel):
    """A part of a study: unknown keys and silent conversions (``"20"``, ``true``) are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


def unique(values: list[Any]) -> list[Any]:
    again = sorted({str(v) for v in values if values.count(v) > 1})
    if again:
        raise ValueError(f"named twice: {', '.join(again)}")
    return values


def _expand_range(value: Any) -> Any:
    """``"1-31"`` -> ``[1, ..., 31]``, no further than any model of the catalogue goes."""
    if isinstance(value, list):
        return value
    span = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", value) if isinstance(value, str) else None
    if span is None:
        raise ValueError("should be a list of layers such as [9, 10], or a range such as 1-31")
    first, last = int(span[1]), int(span[2])
    if last < first:
        raise ValueError(f"the range {value!r} runs backwards")
    deepest = max(model.n_layers for model in MODELS.values())
    if last >= deepest:
        raise ValueError(f"no model has more than {deepest} layers, counted from 0")
    return list(range(first, last + 1))


def _known_prompt(name: str, *, needs_state: bool) -> str:
    allowed = sorted(p.name for p in PROMPTS.values() if p.needs_state == needs_state)
    if name not in allowed:
        raise ValueError(f"there is no such prompt here; use one of {', '.join(allowed)}")
    return name


def _asks_for_a_choice(name: str) -> str:
    if name in PROMPTS and PROMPTS[name].needs_state:
        raise ValueError(
            f"{name} cannot be screened: its response argues before it decides, so no single token "
            "makes the decision; sample it"
        )
    return _known_prompt(name, needs_state=False)


def _known_reader(name: str) -> str:
    if name not in READERS:
        raise ValueError(f"there is no such reader; use one of {', '.join(READERS)}")
    return name


def _known_condition(key: str) -> str:
    try:
        return Condition.parse(key).key
    except BadInput as error:
        raise ValueError(str(error)) from error


Count = Annotated[int, Field(ge=1, le=1_000_000)]

Alias = Annotated[str, Field(pattern=NAME_PATTERN)]
"""How a study calls a model; part of keys and file names."""

Pool = Annotated[str, Field(pattern=NAME_PATTERN)]
"""Name of a work pool, such as ``gpu-0``."""

Layers = Annotated[
    list[Annotated[int, Field(ge=0)]],
    BeforeValidator(_expand_range),
    Field(min_length=1),
    AfterValidator(unique),
    AfterValidator(sorted),
]
"""Decoder blocks counted from 0; a study file may write a list or a range such as ``1-31``."""

Aliases = Annotated[list[Alias], Field(min_length=1), AfterValidator(unique)]

GamePrompt = Annotated[str, AfterValidator(lambda name: _known_prompt(name, needs_state=True))]
"""A prompt that shows a player's state."""

ScenePrompt = Annotated[str, AfterValidator(lambda name: _known_prompt(name, needs_state=False))]
"""A prompt that carries a fixed state of its own."""

ChoicePrompt = Annotated[str, AfterValidator(_asks_for_a_choice)]
"""A scene whose decision the first token of the response makes."""

ReaderName = Annotated[str, AfterValidator(_known_reader)]

ConditionKeys = Annotated[
    list[Annotated[str, AfterValidator(_known_condition)]],
    Field(min_length=1),
    AfterValidator(unique),
]

Gate = Literal["relu", "sae_lens", "authors"]
"""Which activation threshold the SAEs use: none (as the original study), as sae-lens loads it, or
as the SAE's authors define it."""

# JSON has no integer keys, so text is accepted where a study comes back from a manifest.
FeatureIds = dict[
    Annotated[int, Strict(False), Field(ge=0)],
    Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(unique)],
]


def _leading(value: Any) -> Any:
    """``"top 2,000"`` -> 2000."""
    if not isinstance(value, str):
        return value
    top = re.fullmatch(r"\s*top\s+(\d{1,3}(?:,\d{3})+|\d+)\s*", value)
    if top is None:
        raise ValueError("should be a number, or words such as top 2,000")
    return int(top[1].replace(",", ""))


Top = Annotated[int, BeforeValidator(_leading), Field(ge=1)]
"""How many from the top of a ranking: a number, or words such as ``top 2,000``."""

Probability = Annotated[float, Field(gt=0, le=1)]
