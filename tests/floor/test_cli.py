"""`pitboss floor`: what a person sees."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pitboss.cli import main

FLOORS = Path(__file__).parents[2] / "studies" / "floors"
FLOOR = ["--floor", str(FLOORS / "plan.yaml")]


def test_a_survey_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "floor.yaml"
    assert main(["floor", "survey", *FLOOR, "--write", str(written)]) == 0
    shown = capsys.readouterr().out
    assert "| full" in shown and "Qwen 32B API server (m-soar, 80.5 GB)" in shown
    assert main(["floor", "survey", "--floor", str(written)]) == 0
    assert capsys.readouterr().out == shown
    widths = {len(line) for line in shown.splitlines()}
    assert len(widths) == 1  # the columns line up as plain text too


def test_the_plans_options_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["floor", "plan", *FLOOR, "--figures", str(FLOORS / "plan-figures.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "**Recommended: D.**" in shown and "12.2 days" in shown
    assert "GPU 6 keeps 16 GB" in shown and "GPU 5 is full" in shown


def test_sharing_can_be_refused(capsys: pytest.CaptureFixture[str]) -> None:
    figures = ["--figures", str(FLOORS / "plan-figures.yaml")]
    assert main(["floor", "plan", *FLOOR, *figures, "--share"]) == 0
    shown = capsys.readouterr().out
    assert "### C" not in shown and "GPU 2 may not be shared with" in shown


def test_a_study_is_planned_from_what_its_experiments_ask_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ["--study", str(FLOORS.parent / "plan.yaml"), "--state", str(tmp_path)]
    figures = ["--figures", str(FLOORS / "plan-figures.yaml")]
    assert main(["floor", "plan", *FLOOR, *plan, *figures]) == 0
    shown = capsys.readouterr().out
    assert "## Where Exp2-llama may run" in shown and "Exp0-gemma" in shown
    assert main(["floor", "plan", *FLOOR, *plan, *figures, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recommended"] == "D" and len(found["options"]) == 5


def test_errors_go_to_stderr_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["floor", "plan", *FLOOR]) == 1
    assert "next: Name a study with --study" in capsys.readouterr().err
    assert main(["floor", "survey", "--floor", "nowhere.yaml"]) == 1
    assert "no such survey file" in capsys.readouterr().err


def test_a_survey_needs_no_tensor_library() -> None:
    code = (
        "import sys\n"
        "import pitboss.floor.memory.survey, pitboss.floor.memory.history\n"
        "import pitboss.floor.planning.options\n"
        "assert not {'torch', 'prefect', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
