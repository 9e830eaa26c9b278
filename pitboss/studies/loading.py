"""Reading a study file, with messages that name the file, the line, the keys and the remedy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pitboss.errors import BadInput
from pitboss.studies.complaints import complaints
from pitboss.studies.experiment import Place, Problem
from pitboss.studies.model import Study

S = TypeVar("S", bound=Study)


def load_study(path: Path | str, kind: type[S]) -> S:
    """Read and validate a study file.

    It is YAML 1.2: 010 is ten, and yes, no and 1:30 are texts. A key that is written twice is
    refused.

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
        tree, settings = _yaml().compose(text), _yaml().load(text)
    except (YAMLError, UnicodeDecodeError) as error:
        raise BadInput(
            f"The study file cannot be read: {_unreadable(error)}.",
            where=str(path),
            next="Correct the YAML at that place.",
        ) from error
    return _validate(settings, str(path), tree, kind)


def parse_study(settings: Mapping[str, Any], kind: type[S], *, where: str = "study settings") -> S:
    """Validate settings that come from elsewhere than a file; same errors as ``load_study``."""
    return _validate(settings, where, None, kind)


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _unreadable(error: YAMLError | UnicodeDecodeError) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, {error.problem}"
    return " ".join(str(error).split())


def _validate(settings: Any, where: str, tree: Node | None, kind: type[S]) -> S:
    try:
        study = kind.model_validate(settings)
    except ValidationError as error:
        raise _refused(complaints(error, settings, kind), where, tree) from error
    if found := study.problems():
        raise _refused(found, where, tree)
    return study


def _refused(problems: list[Problem], where: str, tree: Node | None) -> BadInput:
    count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
    said = "; ".join(f"{_spelled(tree, place)}: {what}" for place, what in problems)
    return BadInput(
        f"The study has {count}: {said}.",
        where=where,
        next="Correct these fields; nothing has started.",
    )


def _spelled(tree: Node | None, place: Place) -> str:
    """`line 12, experiments.patch.trials`."""
    line = _line(tree, place)
    keys = ".".join(map(str, place)) or "the study as a whole"
    return f"line {line}, {keys}" if line else keys


def _line(tree: Node | None, place: Place) -> int | None:
    """The 1-based line of the deepest part of a place that the file contains."""
    node, mark = tree, tree.start_mark if tree else None
    for part in place:
        if isinstance(node, MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            mark, node = found[0].start_mark, found[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int):
            node = node.value[part]
            mark = node.start_mark
    return mark.line + 1 if mark else None
