"""The manifest says what a folder's results were made with; another study's folder is refused."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pitboss.errors import BadInput, Mismatch
from pitboss.store.documents import read_json

_ABSENT = object()


def read(path: Path) -> dict[str, Any]:
    """Reads a study's manifest; raises BadInput when it is missing or damaged."""
    found = read_json(path, "Give the folder of a study, or create it first.")
    if not isinstance(found, dict):
        raise BadInput("The manifest is not a JSON object.", where=str(path))
    return found


def plain(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the manifest as JSON gives it back, so that comparing never depends on Python types.

    Raises:
        BadInput: A value is not JSON (a NaN, a path, an array).
    """
    try:
        text = json.dumps(manifest, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadInput(f"The manifest holds a value that is not JSON: {error}") from error
    made: dict[str, Any] = json.loads(text)
    return made


def differences(here: Any, asked: Any, path: str = "") -> list[str]:
    """Lists every field in which two manifests differ, as `features.gate: 'a' here, 'b' asked`."""
    if isinstance(here, dict) and isinstance(asked, dict):
        found = []
        for name in [*here, *(n for n in asked if n not in here)]:
            dotted = f"{path}.{name}" if path else name
            found += differences(here.get(name, _ABSENT), asked.get(name, _ABSENT), dotted)
        return found
    if isinstance(here, list) and isinstance(asked, list) and len(here) == len(asked):
        pairs = zip(here, asked, strict=True)
        return [d for i, (a, b) in enumerate(pairs) for d in differences(a, b, f"{path}[{i}]")]
    if here == asked and isinstance(here, bool) == isinstance(asked, bool):
        return []
    return [f"{path}: {_short(here)} here, {_short(asked)} asked"]


def require_same(here: Mapping[str, Any], asked: Mapping[str, Any], where: str) -> None:
    """Raises Mismatch naming the first field in which the manifests differ."""
    found = differences(dict(here), dict(asked))
    if not found:
        return
    more = f" ({len(found) - 1} more fields differ)" if len(found) > 1 else ""
    raise Mismatch(
        f"The folder belongs to a study with other settings: {found[0]}{more}.",
        where=where,
        next="Give the changed study another name, or restore the setting to go on with this one.",
    )


def _short(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
