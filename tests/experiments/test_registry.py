"""The registry is the only list of experiments: nothing else in the product knows their names."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.reconcile import HOLDING
from deployments.settings import ROOT
from pitboss.analysis.effects import CONFIRMATION
from pitboss.experiments.registry import Study, experiment_class, kind_of, settings_types
from pitboss.experiments.runtime.experiment import Experiment
from pitboss.store import KINDS

PRODUCT = ("pitboss", "flows", "tasks", "deployments")
PACKAGES = "pitboss/experiments"
# Where all of them stand by name: the list itself, the plan as flows, the sections of the page, and
# which table is whose, which is held against the units by a test of its own.
LISTS = (f"{PACKAGES}/registry.py", "flows/experiments.py", "pitboss/report/page/sections/",
         "pitboss/report/made_by.py")  # fmt: skip
# Also a field of other sections, and what a phase of trials is called in the tables.
OTHERWISE = {"selection", CONFIRMATION}
# Two studies are compared by what their patching found.
COMPARED = ("pitboss/api/compare.py", {"patching"})


def package_of(kind: str) -> str:
    return settings_types()[kind].__module__.rpartition(".")[0].replace(".", "/")


def strangers(file: Path) -> Iterator[tuple[str, ast.AST]]:
    """The parts of a module that name an experiment: as a text of its own, or by an import."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node


@pytest.mark.parametrize("kind", settings_types())
def test_an_experiment_is_named_in_its_package_only(kind: str) -> None:
    """Names that are also tables, such as games, are looked for in imports alone."""
    flow, package = settings_types()[kind].flow, package_of(kind)
    words = {kind, flow} - set(KINDS) - OTHERWISE
    found = []
    for folder in PRODUCT:
        for file in sorted((ROOT / folder).rglob("*.py")):
            place = file.relative_to(ROOT).as_posix()
            if place.startswith((f"{package}/", *LISTS)):
                continue
            for name, node in strangers(file):
                if (place, {name}) == COMPARED:
                    continue
                imported = name.replace(".", "/").startswith(f"{package}/")
                reads_it = place.startswith(f"{PACKAGES}/")  # an experiment may read another
                if name in words or (imported and not reads_it):
                    found.append(f"{place}:{node.lineno}: {name}")  # type: ignore[attr-defined]
    assert not found


def test_every_kind_is_a_section_a_class_and_a_flow_of_its_own() -> None:
    types = settings_types()
    assert len({settings.flow for settings in types.values()}) == len(types)
    for kind, settings in types.items():
        assert kind_of(settings) == kind
        made = experiment_class(settings)
        assert issubclass(made, Experiment) and made.__doc__ and settings.__doc__
        flows = importlib.import_module("flows.experiments")
        assert getattr(flows, settings.flow).name == settings.flow
    assert {settings.flow for settings in types.values()} < set(HOLDING)


def test_every_field_of_a_study_file_is_explained() -> None:
    for section in (Study, *settings_types().values()):
        for name, field in section.model_fields.items():
            assert name == "kind" or (field.description and len(field.description) > 15), name


def test_the_list_is_light() -> None:
    """`pitboss check` and `make up` ask it; a tensor library takes seconds to import."""

    told = (
        "import sys, pitboss.experiments.registry; print(*{'torch', 'prefect'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr
