"""Which folder a study's name means: one below the results, and nothing outside them."""

import re
from pathlib import Path

from pitboss.errors import BadInput
from pitboss.folders import results_folder
from pitboss.store.store import MANIFEST
from pitboss.studies.fields import NAME_PATTERN


def results_root(given: Path | str | None = None) -> Path:
    """Folder of all results: the one given, PITBOSS_RESULTS, or `results` in the repository."""
    return Path(given).resolve() if given else results_folder()


def studies(root: Path | str | None = None) -> list[str]:
    """Names of the studies that have results, sorted."""
    return sorted(path.parent.name for path in results_root(root).glob(f"*/{MANIFEST}"))


def study_folder(study: str, root: Path | str | None = None) -> Path:
    """The folder of a study, by its name or by its path below the results.

    Raises:
        BadInput: It lies outside the results, or there is no such study.
    """
    below = results_root(root)
    named = re.match(NAME_PATTERN, study) is not None
    path = (below / study if named else Path(study)).resolve()
    if path.parent != below:
        raise BadInput(
            f"The study {study!r} lies outside the results.",
            where=str(below),
            next="Give a study's name, such as demo. PITBOSS_RESULTS names another results folder.",
        )
    if not (path / MANIFEST).is_file():
        known = studies(below)
        raise BadInput(
            f"There is no study {path.name!r}.",
            where=str(below),
            next=f"Use one of {', '.join(known)}."
            if known
            else "Run one first, such as `make demo`.",
        )
    return path
