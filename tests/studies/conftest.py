"""A small valid study as plain settings, to be spoilt by one change at a time."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def change(settings: dict[str, Any], path: str, value: Any) -> None:
    """Set one field of a study, such as experiments.patching.trials."""
    *parents, last = path.split(".")
    for name in parents:
        settings = settings[name]
    settings[last] = value


@pytest.fixture(scope="session")
def demo_settings() -> dict[str, Any]:
    """The demo study, unvalidated."""
    return yaml.safe_load((STUDIES / "demo.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def settings(demo_settings: dict[str, Any]) -> dict[str, Any]:
    """A fresh copy of the demo study's settings."""
    return deepcopy(demo_settings)
