"""The lab's manifest: what was measured while it was built, and a hash of every file."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pitboss.errors import BadInput

NAME = "manifest.json"
_NOT_LISTED = {NAME, "README.md"}  # the manifest itself, and the text for people


def file_hashes(folder: Path) -> dict[str, str]:
    """Relative path -> sha256 of every built file in the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.relative_to(folder).as_posix() not in _NOT_LISTED
    }


def write(folder: Path, facts: dict[str, Any]) -> None:
    """Writes the manifest over the folder as it is now."""
    content = {**facts, "files": file_hashes(folder)}
    (folder / NAME).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read(folder: Path) -> dict[str, Any]:
    """The manifest; BadInput if there is none or it is not JSON."""
    try:
        content: dict[str, Any] = json.loads((folder / NAME).read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(
            "The lab has no readable manifest.",
            where=str(folder / NAME),
            next="Run `make lab`, or check out the lab/ folder again.",
        ) from error
    return content


def verify(folder: Path) -> int:
    """Compares every file with the manifest; returns their number.

    Raises:
        BadInput: a file is missing, changed or not listed; all of them are named.
    """
    listed, found = read(folder)["files"], file_hashes(folder)
    problems = [f"{name} is missing" for name in sorted(listed.keys() - found.keys())]
    problems += [f"{name} is not listed" for name in sorted(found.keys() - listed.keys())]
    problems += [
        f"{name} has changed"
        for name in sorted(listed.keys() & found.keys())
        if listed[name] != found[name]
    ]
    if problems:
        raise BadInput(
            f"The lab does not match its manifest: {'; '.join(problems)}.",
            where=str(folder),
            next="Run `make lab`, or check out the lab/ folder again.",
        )
    return len(listed)
