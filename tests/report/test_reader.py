"""A study with two patchings: each is seen with what belongs to it, the first one by default."""

import re
from pathlib import Path
from typing import Any

import pytest

import pitboss
from pitboss.cli import main
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.registry import plan_of, settings_types
from pitboss.experiments.runtime import expected
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.report.made_by import DOCUMENTS, MAKERS
from pitboss.report.page import render
from pitboss.report.reader import Reader
from pitboss.store import KINDS
from tests.api import made

GEMMA = {"id": "pitboss/lab-gemma", "sae": "pitboss/lab-gemma-scope"}
STOPS = {
    "llama": {(1, 7): {"exp2/safe": (16, 3), "exp2/risky": (18, 4)}},
    "gemma": {
        (2, 5): {"exp2/safe": (17, 2), "exp2/risky": (10, 9)},
        (2, 6): {"exp2/safe": (8, 8), "exp2/risky": (9, 9)},
    },
}
NAMES = {
    "llama": {"selection": "features", "patching": "patching"},
    "gemma": {"selection": "features-gemma", "patching": "patch-gemma"},
}
TABLES = {
    "selection": {"features": made._features},
    "patching": {"trials": made._trials, "effects": made._effects, "findings": made._findings},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    base = made.settings()["experiments"]
    study = made.study_of(
        "two",
        models={"gemma": GEMMA},
        games={"models": ["llama", "gemma"]},
        **{
            "features-gemma": {**base["features"], "model": "gemma", "include": "none"},
            "patch-gemma": {**base["patching"], "bank": "features-gemma"},
        },
    )
    plan = plan_of(study, open_store(study, tmp_path_factory.mktemp("two")))
    for alias, names in NAMES.items():
        for kind, name in names.items():
            leave(plan, name, alias, TABLES[kind])
        rate = {"hits": len(STOPS[alias]), "tested": 40, "rate": 0.05, "low": 0.0, "high": 0.2}
        found = {"false_positive": {"random_feature": rate}}
        plan.store.write_json(plan[names["patching"]].file("controls.json"), found)
    return plan


def leave(plan: Plan, name: str, alias: str, tables: dict[str, Any]) -> None:
    """What the experiment would leave behind, and what it writes down of it."""
    units = []
    for kind, rows_of in tables.items():
        rows = rows_of(STOPS[alias])
        units.append(Unit(name, "made", kind, f"{alias}/{kind}", {"made": name}, len(rows)))
        units[-1].complete(plan.store, Outcome({kind: rows}), began=0.0)
    expected._write(plan, plan[name], alias, units, more=False)


def test_the_first_of_each_kind_is_seen_and_another_one_with_what_belongs_to_it(plan: Plan) -> None:
    s = pitboss.open("two", plan.store.path.parent)
    other = s.of("patch-gemma")
    for seen, alias in ((s, "llama"), (other, "gemma")):
        assert set(seen.findings["feature"]) == {feature for _, feature in STOPS[alias]}
        assert len(seen.effects) == 6 * len(STOPS[alias])
        assert len(seen.features) == len(STOPS[alias])
        assert seen.controls["false_positive"]["random_feature"]["hits"] == len(STOPS[alias])
        assert seen.chosen["selection"] == NAMES[alias]["selection"]
    assert s.of("features-gemma").chosen == other.chosen  # it is read by that patching alone
    assert "patch-gemma" in repr(s) and "seen from patch-gemma" in other._repr_html_()
    assert other.feature("L2/F5").causal and other.settings_of("patching")["bank"] == (
        "features-gemma"
    )
    with pytest.raises(BadInput, match=r"no experiment 'nobody'.*patch-gemma"):
        s.of("nobody")
    with pytest.raises(Incomplete, match="no words: its experiment words makes it"):
        s.words  # noqa: B018


def test_of_several_that_read_it_the_first_in_the_study_file_is_seen(tmp_path: Path) -> None:
    base = made.settings()["experiments"]
    study = made.study_of("order", **{"a-patching": base["patching"]})
    plan = plan_of(study, open_store(study, tmp_path))
    for name in ("features", "a-patching", "patching"):
        leave(plan, name, "llama", {})
    assert Reader(plan.store, "features").chosen["patching"] == "patching"
    assert Reader(plan.store, "a-patching").chosen["patching"] == "a-patching"


def test_names_of_files_are_those_that_experiments_write(plan: Plan) -> None:
    for experiment in plan:
        kind = experiment.settings.kind
        reader = Reader(plan.store, None if experiment.first_of_kind else experiment.name)
        for document in DOCUMENTS.values():
            if document.kind == kind:
                assert reader.file(document) == experiment.file(document.file)
        assert reader.named("effects", experiment.name) == experiment.named("effects")
    assert Reader(plan.store, "patch-gemma").files("effects") == ["effects-patch-gemma.parquet"]
    assert set(MAKERS) == set(KINDS) and set(MAKERS.values()) < set(settings_types())


def test_a_further_patching_has_a_page_of_its_own(plan: Plan) -> None:
    first = render.write(plan.store)
    pages = {path.name: path.read_text() for path in first.parent.glob("report*.html")}
    assert set(pages) == {"report.html", "report-patch-gemma.html"}
    for (name, text), alias, other in zip(
        sorted(pages.items(), reverse=True), ("llama", "gemma"), (1, 0), strict=True
    ):
        linked = sorted(pages, reverse=True)[other]
        assert f'<a href="{linked}">' in text and f'<a href="{name}">' not in text
        said = dict(re.findall(r'data-number="(\w+)" data-value="(\d+)"', text))
        assert said["patched"] == str(len(STOPS[alias])) and said["causal"] == "1"
    assert "findings-patch-gemma.parquet" in pages["report-patch-gemma.html"]
    assert "controls-patch-gemma.json" in pages["report-patch-gemma.html"]


def test_the_command_sees_another_experiment(plan: Plan, capsys: Any) -> None:
    results = ["--results", str(plan.store.path.parent)]
    for of, feature in (([], "L1/F7"), (["--of", "patch-gemma"], "L2/F5")):
        assert main(["effects", "two", "--causal", *of, *results]) == 0
        assert feature in capsys.readouterr().out
