"""What is declared is what is done, and changes with what determines it."""

import json

import pytest

from deployments.settings import ROOT
from pitboss.analysis.declaration import declaration
from pitboss.experiments.patching.declaration import as_markdown, declare
from pitboss.studies.loading import load_study
from pitboss.studies.model import Study


@pytest.fixture(scope="module")
def plan() -> Study:
    return load_study(ROOT / "studies" / "plan.yaml")


def test_the_plan_declares_its_family_and_what_it_can_find(plan: Study) -> None:
    declared = declare(plan)
    assert declared["tests"] == 9_300 * 2 * 4
    assert declared["scenes"] == ["exp2/safe", "exp2/risky"]
    assert declared["outcomes"] == ["stop", "stake", "extreme", "readable"]
    assert declared["controls"]["random_features"] == 300
    (power,) = declared["power"].values()
    assert power["runs_per_arm"] == plan.patching.trials and power["states"] == 1
    alone = declaration(tests=74_400, trials=20, share=0.05)
    assert power["table"] == alone["table"]
    assert json.loads(json.dumps(declared)) == declared
    text = as_markdown(declared)
    assert all(sentence in text for sentence in power["sentences"])
    assert "safe_vs_risky is significant on stopping" in text


def test_states_are_declared_as_one_test_over_all_of_them() -> None:
    demo = load_study(ROOT / "studies" / "demo.yaml")
    declared = declare(demo)
    states = declared["power"]["exp2/states"]
    assert (states["states"], states["runs_per_arm"]) == (12, 12)
    assert declared["tests"] == declared["features"] * 3 * 4
    assert declared["confirmation"]["trials"] == 20
