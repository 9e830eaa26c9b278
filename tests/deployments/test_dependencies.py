"""What the code imports is locked, so that nothing is missing on another machine."""

import ast
import re
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from deployments.settings import ROOT

HERE = ("pitboss", "flows", "tasks", "deployments")
# Comes with PyTorch where there is CUDA; without it the plain path runs.
WITH_CUDA = {"triton"}
PYTHONS = ("3.11.0", "3.12.0", "3.13.0", "3.14.0")  # the first one is the oldest we promise


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)["project"]
    return found


@pytest.fixture(scope="module")
def locked() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = [Requirement(line) for line in lines if not line.startswith("#")]
    return {normal(pin.name): pin for pin in pinned}


def imported() -> dict[str, str]:
    """Every package that is imported anywhere, functions included, and a file that does."""
    found = {}
    for path in [path for folder in HERE for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            found |= {name.split(".")[0]: str(path.relative_to(ROOT)) for name in names}
    return found


def test_everything_that_is_declared_or_imported_is_locked(
    project: dict[str, Any], locked: dict[str, Requirement]
) -> None:
    assert {normal(Requirement(line).name) for line in project["dependencies"]} <= locked.keys()
    makers = packages_distributions()
    for package, path in imported().items():
        if package in {*sys.stdlib_module_names, *HERE, *WITH_CUDA}:
            continue
        makes = {normal(name) for name in makers.get(package, [])}
        assert makes & locked.keys(), (
            f"{path} imports {package}, which requirements.lock does not name"
        )


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_serves_every_python_we_promise(
    project: dict[str, Any], locked: dict[str, Requirement], python: str
) -> None:
    """Each pinned version takes that Python, and what it needs there is pinned and fits."""
    assert python in SpecifierSet(project["requires-python"])
    there = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    for name, pin in locked.items():
        if pin.marker and not pin.marker.evaluate():
            continue  # not installed here, so nothing is known about it
        made = distribution(name)
        takes = SpecifierSet(made.metadata["Requires-Python"] or "")
        assert python in takes, f"{pin} takes only Python {takes}"
        for need in map(Requirement, made.requires or []):
            if name == "torch" and normal(need.name) not in locked:
                continue  # the CUDA build brings CUDA's libraries in versions of its own
            if need.marker and not need.marker.evaluate({**there, "extra": ""}):
                continue
            pinned = locked.get(normal(need.name))
            assert pinned, f"{pin} needs {need} under Python {python}, which is not locked"
            [version] = pinned.specifier
            assert version.version in need.specifier, f"{pin} needs {need}, locked is {pinned}"
