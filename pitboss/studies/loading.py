"""Reading a study file, with messages that name the file, the line, the field and the remedy."""

import re
from collections.abc import Hashable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pitboss.errors import BadInput
from pitboss.studies.model import Study

S = TypeVar("S", bound=Study)


class _StudyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice, which plain YAML silently overrides."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # refused by the safe loader itself
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes off, on, yes and no for truth values; a study means the words, as YAML 1.2 does.
_StudyLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in known if tag != "tag:yaml.org,2002:bool"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StudyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)

# YAML 1.1 takes 1e-3 for text because it lacks a point; a study means the number.
_StudyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load_study(path: Path | str, kind: type[S]) -> S:
    """Read and validate a study file.

    Args:
        kind: The type that knows every kind of experiment.

    Raises:
        BadInput: The file is missing, is no YAML, or is no study; the message lists every
            offending field with its line and what is allowed there.
    """
    path = Path(path)
    if not path.is_file():
        beside = sorted(str(p) for p in path.parent.glob("*.yaml"))
        raise BadInput(
            "There is no such study file.",
            where=str(path),
            next=f"Use one of {', '.join(beside)}." if beside else "Give the path of a .yaml file.",
        )
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=_StudyLoader)
        settings = yaml.load(text, Loader=_StudyLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(
            f"The study file cannot be read: {' '.join(str(error).split())}.",
            where=str(path),
            next="Correct the YAML at that place.",
        ) from error
    return _validate(settings, str(path), tree, kind)


def parse_study(settings: Mapping[str, Any], kind: type[S], *, where: str = "study settings") -> S:
    """Validate settings that come from elsewhere than a file; same errors as ``load_study``."""
    return _validate(settings, where, None, kind)


def _validate(settings: Any, where: str, tree: yaml.Node | None, kind: type[S]) -> S:
    try:
        study = kind.model_validate(settings)
    except ValidationError as error:
        problems = [_describe(problem, tree, kind) for problem in error.errors()]
        raise _refused(problems, where) from error
    if found := study.problems():
        raise _refused([f"{_place(tree, place)}: {what}" for place, what in found], where)
    return study


def _refused(problems: list[str], where: str) -> BadInput:
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    return BadInput(
        f"The study has {count}: {'; '.join(problems)}.",
        where=where,
        next="Correct these fields; nothing has started.",
    )


def _describe(problem: ErrorDetails, tree: yaml.Node | None, study: type[Study]) -> str:
    loc = _without_kind(problem["loc"])
    place = _place(tree, loc)
    if problem["type"] == "extra_forbidden":
        return f"{place}: unknown key; {_allowed_keys(problem['loc'], study)}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"{place}: is missing"
    if problem["type"].startswith("union_tag"):
        return f"{place}: is no kind of experiment; use one of {', '.join(_kinds(study))}"
    given = problem["input"]
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | None) else ""
    return f"{place}: {message.rstrip('.')}{shown}"


def _place(tree: yaml.Node | None, loc: tuple[int | str, ...]) -> str:
    """`line 12, experiments.patch.trials`."""
    line = _line(tree, loc)
    return (f"line {line}, " if line else "") + (_field(loc) or "the study as a whole")


def _without_kind(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Validation names an experiment's kind behind its name; the file does not."""
    return (*loc[:2], *loc[3:]) if loc[:1] == ("experiments",) and len(loc) > 2 else loc


def _kinds(study: type[Study]) -> dict[str, type[BaseModel]]:
    """Kind of experiment -> its section."""
    of_name = get_args(study.model_fields["experiments"].annotation)[1]
    return {
        str(get_args(section.model_fields["kind"].annotation)[0]): section
        for section in get_args(get_args(of_name)[0])
    }


def _field(loc: tuple[int | str, ...]) -> str:
    """``("models", "llama", "id")`` -> ``models.llama.id``; union branches are left out."""
    names = [str(part) for part in loc if not (isinstance(part, str) and "[" in part)]
    return ".".join(names)


def _allowed_keys(loc: tuple[int | str, ...], study: type[Study]) -> str:
    """The keys that the section around an unknown key knows, the most similar one first."""
    section: type[BaseModel] | None = study
    if loc[0] == "experiments":
        section, loc = _kinds(study)[str(loc[2])], loc[3:]
    for part in loc[:-1]:
        section = _section_below(section, part)
    keys = list(section.model_fields) if section else []
    close = get_close_matches(str(loc[-1]), keys, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}allowed are {', '.join(keys)}"


def _section_below(section: type[BaseModel] | None, part: int | str) -> type[BaseModel] | None:
    if section is None or part not in section.model_fields:
        return section  # a mapping's key: the section of its values was entered before it
    annotation = section.model_fields[str(part)].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _line(tree: yaml.Node | None, loc: tuple[int | str, ...]) -> int | None:
    """The 1-based line of the deepest part of ``loc`` that the file contains."""
    node, mark = tree, tree.start_mark if tree else None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            mark, node = found[0].start_mark, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            mark = node.start_mark
    return mark.line + 1 if mark else None
