"""The page that says how to add an experiment is followed in a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deployments.settings import ROOT

FOLDERS = ("pitboss", "flows", "tasks", "deployments", "studies", "lab", "data")
FILES = ("prefect.yaml", "pyproject.toml", "requirements.lock")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository after the page's steps."""
    folder = tmp_path_factory.mktemp("repository")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    page = (ROOT / "docs" / "add-experiment.md").read_text(encoding="utf-8")
    blocks = re.findall(r'^```\w+ title="(.+?)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == ["pitboss/experiments/first_tokens.py",
                                            "studies/sure.yaml"]  # fmt: skip
    for name, text in blocks:
        (folder / name).write_text(text, encoding="utf-8")
    (line,) = re.findall(r"^from pitboss.experiments.first_tokens import .*$", page, re.MULTILINE)
    registry = folder / "pitboss" / "experiments" / "registry.py"
    before = registry.read_text(encoding="utf-8")
    after = before.replace("    | ClampedGamesSettings,\n",
                           "    | ClampedGamesSettings\n    | FirstTokensSettings,\n")  # fmt: skip
    assert after != before
    first = "from pitboss.experiments.games.settings"
    registry.write_text(after.replace(first, f"{line}\n{first}", 1), encoding="utf-8")
    return folder


def run(copy: Path, *command: str) -> str:
    env = os.environ | {"PYTHONPATH": str(copy), "PITBOSS_RESULTS": str(copy / "results")}
    command = (sys.executable, *command)
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_experiment_is_checked_run_counted_and_shown(copy: Path) -> None:
    checked = json.loads(run(copy, "-m", "pitboss.cli", "check", "sure", "--json"))
    (step,) = checked["steps"]
    assert (step["experiment"], step["runs"], checked["problems"]) == ("first", 2, [])
    run(copy, "-m", "pitboss.cli", "run", "sure")
    results = copy / "results" / "sure"
    summary = json.loads((results / "summary.json").read_text("utf-8"))
    assert summary["complete"]
    assert summary["experiments"]["first"]["steps"]["first_tokens"]["rows"]["actual"] == 2
    rows = pq.read_table(results / "first_tokens.parquet").to_pylist()
    assert {row["prompt"] for row in rows} == {"exp2/safe", "exp2/risky"}
    assert all(0 < row["p"] <= 1 and row["token"] for row in rows)
    assert "first_tokens" in (results / "report.html").read_text("utf-8")


def test_the_experiment_is_deployed_on_every_pool_with_a_form(copy: Path) -> None:
    told = """
from deployments import prefect_yaml
from deployments.floor import pools, read_floor_file, FLOOR_FILE
floor = pools(read_floor_file(FLOOR_FILE), dict.fromkeys(range(3), "H200"))
document = prefect_yaml.check(prefect_yaml.FILE, floor, {"PITBOSS_ROOT": "/x"})
prefect_yaml.check_flows(document)
print(*sorted(name for name in prefect_yaml.names(document) if "first" in name))
"""
    assert run(copy, "-c", told).split() == [f"first_tokens/gpu-{n}" for n in range(3)]
