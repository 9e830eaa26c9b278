"""What is declared is what is done, and changes with what determines it."""

import json
from pathlib import Path

from deployments.settings import ROOT
from pitboss.analysis.declaration import declaration
from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.registry import load_study, plan_of
from pitboss.experiments.runtime.study import open_store
from tests.experiments.banks import patching_of


def shipped(name: str, results: Path) -> Patching:
    study = load_study(ROOT / "studies" / f"{name}.yaml")
    return patching_of(plan_of(study, open_store(study, results)))


def test_the_plan_declares_its_family_and_what_it_can_find(tmp_path: Path) -> None:
    patching = shipped("plan", tmp_path)
    declared, text = patching.declared().document, patching.declared().text
    assert declared["tests"] == 9_300 * 2 * 4
    assert declared["scenes"] == ["exp2/safe", "exp2/risky"]
    assert declared["outcomes"] == ["stop", "stake", "extreme", "readable"]
    assert declared["controls"]["random_features"] == 300
    (power,) = declared["power"].values()
    assert power["runs_per_arm"] == patching.settings.trials and power["states"] == 1
    alone = declaration(tests=74_400, trials=20, share=0.05)
    assert power["table"] == alone["table"]
    assert json.loads(json.dumps(declared)) == declared
    assert all(sentence in text for sentence in power["sentences"])
    assert "safe_vs_risky is significant on stopping" in text


def test_states_are_declared_as_one_test_over_all_of_them(tmp_path: Path) -> None:
    declared = shipped("demo", tmp_path).declared().document
    states = declared["power"]["exp2/states"]
    assert (states["states"], states["runs_per_arm"]) == (12, 12)
    assert declared["tests"] == declared["features"] * 3 * 4
    assert declared["confirmation"]["trials"] == 20
