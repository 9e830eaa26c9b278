"""Rules of the house that no other tool checks."""

import ast
from pathlib import Path

import pytest

from deployments.settings import ROOT

SOURCES = sorted(
    path
    for folder in ("pitboss", "flows", "tasks", "deployments")
    for path in (ROOT / folder).rglob("*.py")
)


def imported_at_load(tree: ast.Module) -> set[str]:
    """Top-level packages that importing a module imports: everything outside functions."""
    found: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
        waiting += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sae_lens_is_imported_by_functions_only(path: Path) -> None:
    """It takes nine seconds and a tracking library with it; only loading an SAE needs it."""
    assert "sae_lens" not in imported_at_load(ast.parse(path.read_text()))


def test_the_check_sees_an_import() -> None:
    assert imported_at_load(ast.parse("try:\n    import sae_lens.x\nfinally:\n    pass")) == {
        "sae_lens"
    }
    assert imported_at_load(ast.parse("def load():\n    import sae_lens")) == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unsafe_is_deserialized(path: Path) -> None:
    tree = ast.parse(path.read_text())
    names = {
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not names & {"torch.load", "pickle.load", "pickle.loads", "yaml.load_all"}
