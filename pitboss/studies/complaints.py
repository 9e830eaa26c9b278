"""What validation finds wrong with a study, as a place and a sentence that says what would fit.

A field that takes several kinds of values is validated once for each of them, and every try brings
complaints of its own: those about one place become one sentence.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pitboss.studies.experiment import Place, Problem
from pitboss.studies.fields import NAME_PATTERN
from pitboss.studies.model import Study

_OF_TYPE = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


def complaints(error: ValidationError, settings: Any, study: type[Study]) -> list[Problem]:
    """All problems of settings that were refused, in the order of the fields.

    Args:
        settings: What was validated.
        study: The type that knows every kind of experiment.
    """
    found: dict[Place, list[ErrorDetails]] = {}
    for each in error.errors(include_url=False):
        found.setdefault(_place(each, settings), []).append(each)
    return [
        Problem(place, _sentence(errors, study))
        for place, errors in found.items()
        if not _said_below(place, errors, found)
    ]


def _place(error: ErrorDetails, settings: Any) -> Place:
    """The keys as they stand in the file, without those that name what a value was tried as."""
    place: list[int | str] = []
    here = settings
    for part in _without_kind(error["loc"]):
        if isinstance(here, Mapping):
            key = next((k for k in here if str(k) == str(part)), None)
            if key is not None:
                place.append(part)
                here = here[key]
        elif isinstance(here, list) and isinstance(part, int):
            place.append(part)
            here = here[part]
    if error["type"] == "missing":
        place.append(error["loc"][-1])
    if error["type"].startswith("union_tag"):
        place.append("kind")
    return tuple(place)


def _without_kind(loc: Place) -> Place:
    """Validation names an experiment's kind behind its name; the file does not."""
    return (*loc[:2], *loc[3:]) if loc[:1] == ("experiments",) else loc


def _said_below(place: Place, errors: list[ErrorDetails], found: Mapping[Place, object]) -> bool:
    """Whether another try of the same value fitted so far that its own complaints say more."""
    tried = all(len(_without_kind(error["loc"])) > len(place) for error in errors)
    return tried and any(len(p) > len(place) and p[: len(place)] == place for p in found)


def _sentence(errors: list[ErrorDetails], study: type[Study]) -> str:
    first = errors[0]
    if first["type"] == "extra_forbidden":
        known = list(section.model_fields) if (section := _section(first["loc"], study)) else []
        return f"unknown key; {_close(str(first['loc'][-1]), known)}allowed are {', '.join(known)}"
    if first["type"].startswith("union_tag"):
        kinds = list(_kinds(study))
        given = str(first.get("ctx", {}).get("tag", ""))
        what = f"there is no kind {given!r}" if given else "is missing"
        return f"{what}; {_close(given, kinds)}use one of {', '.join(kinds)}"
    if first["type"] == "missing":
        return "is missing"
    # Where a value was of one of the types that are allowed, what else it could have been is noise.
    of_value = [e for e in errors if e["type"] not in _OF_TYPE and e["type"] != "literal_error"]
    said = dict.fromkeys(_message(error, study) for error in of_value or errors)
    fitting = [text.removeprefix("should be ") for text in said if text.startswith("should be ")]
    others = [text for text in said if not text.startswith("should be ")]
    parts = [*([f"should be {' or '.join(fitting)}"] if fitting else []), *others]
    return "; ".join(parts) + _given(first["input"])


def _message(error: ErrorDetails, study: type[Study]) -> str:
    kind = error["type"]
    if kind in _OF_TYPE:
        return f"should be {_OF_TYPE[kind]}"
    if kind in ("model_type", "model_attributes_type"):
        section = _section((*error["loc"], ""), study)
        keys = ", ".join(section.model_fields) if section else "kind"
        return f"should be a section with keys such as {keys}"
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"] == NAME_PATTERN:
        return "should be small letters, digits and hyphens"
    message = error["msg"].removeprefix("Value error, ").rstrip(".")
    return message.replace("Input should be ", "should be ", 1)


def _given(value: Any) -> str:
    shown = isinstance(value, str | int | float | None)
    return f" (given: {json.dumps(value, ensure_ascii=False)})" if shown else ""


def _close(given: str, known: list[str]) -> str:
    close = get_close_matches(given, known, n=1)
    return f"did you mean {close[0]}? " if close else ""


def _kinds(study: type[Study]) -> dict[str, type[BaseModel]]:
    """Kind of experiment -> its section."""
    of_name = get_args(study.model_fields["experiments"].annotation)[1]
    return {
        str(get_args(section.model_fields["kind"].annotation)[0]): section
        for section in get_args(get_args(of_name)[0])
    }


def _section(loc: Place, study: type[Study]) -> type[BaseModel] | None:
    """The section that a key lies in, if it can be told."""
    section: type[BaseModel] | None = study
    if loc[0] == "experiments":
        section, loc = _kinds(study).get(str(loc[2])) if len(loc) > 2 else None, loc[3:]
    for part in loc[:-1]:
        section = _below(section, part)
    return section


def _below(section: type[BaseModel] | None, part: int | str) -> type[BaseModel] | None:
    if section is None or part not in section.model_fields:
        return section  # a mapping's key: the section of its values was entered before it
    annotation = section.model_fields[str(part)].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
