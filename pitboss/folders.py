"""Where the house keeps its files and studies their results: the one place that asks for both."""

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository."""


def house_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """PITBOSS_HOME, or `.pitboss` in the repository: whatever directory somebody works in."""
    return Path(environ.get("PITBOSS_HOME") or ROOT / ".pitboss").expanduser().resolve()


def floor_folder() -> Path:
    """`floor` in the house's folder: history, pilots and limits. It need not exist yet."""
    return house_folder() / "floor"


def results_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """PITBOSS_RESULTS, or `results` in the repository."""
    return Path(environ.get("PITBOSS_RESULTS") or ROOT / "results").expanduser().resolve()
