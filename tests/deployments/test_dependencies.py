"""What the code imports is locked, so that nothing is missing on another machine."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from deployments.settings import ROOT

HERE = ("pitboss", "flows", "tasks", "deployments")
# Comes with PyTorch where there is CUDA; without it the plain path runs.
WITH_CUDA = {"triton"}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        normal(re.split(r"[\[<>=~! ]", line, maxsplit=1)[0]) for line in project["dependencies"]
    }


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


def test_everything_that_is_declared_or_imported_is_locked(declared: set[str]) -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {normal(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    assert declared <= locked
    makers = packages_distributions()
    for package, path in imported().items():
        if package in {*sys.stdlib_module_names, *HERE, *WITH_CUDA}:
            continue
        makes = {normal(name) for name in makers.get(package, [])}
        assert makes & locked, f"{path} imports {package}, which requirements.lock does not name"
