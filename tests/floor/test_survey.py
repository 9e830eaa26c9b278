"""Surveys: from files and back, the classes of the plan's GPUs, whose a process is."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from deployments.processes import TOKEN
from pitboss.errors import BadInput
from pitboss.floor.memory import survey as surveys
from pitboss.floor.memory.survey import OUR_VARIABLE, short_command, survey
from pitboss.floor.memory.survey_file import read_survey, write_survey
from pitboss.floor.memory.thresholds import margin, occupancy, safety

PLAN = Path(__file__).parents[2] / "studies" / "floors" / "plan.yaml"
GB = 1_000_000_000


def test_the_plans_floor_is_classified_as_the_plan_does() -> None:
    floor = read_survey(PLAN)
    found = [occupancy(gpu) for gpu in floor.gpus]
    assert found == ["free", "free", "shared", "free", "shared", "full", "shared", "shared"]
    after = {g: safety(margin(floor.gpu(g), 25 * GB)) for g in (2, 4, 5, 6, 7)}
    assert after == {2: "safe", 4: "safe", 5: "no", 6: "marginal", 7: "marginal"}
    assert floor.gpu(4).ours == floor.gpu(4).used == 23_600_000_000
    assert floor.gpu(6).unattributed == 0


def test_growth_counts_against_the_margin() -> None:
    gpu = read_survey(PLAN).gpu(2)
    assert safety(margin(gpu, 25 * GB, growth=6 * GB)) == "marginal"


def test_thresholds_are_inclusive() -> None:
    assert [safety(n * GB) for n in (30, 29, 10, 9, -5)] == [
        "safe", "marginal", "marginal", "no", "no",
    ]  # fmt: skip


def test_a_survey_comes_back_from_its_file(tmp_path: Path) -> None:
    floor = read_survey(PLAN)
    odd = replace(floor.gpus[2], uuid="GPU-1", used=20_812_345_678, utilisation=7, temperature=41)
    written = replace(floor, gpus=(odd, *floor.gpus[3:]))
    write_survey(written, tmp_path / "floor.yaml")
    back = read_survey(tmp_path / "floor.yaml")
    assert back == replace(written, source=str(tmp_path / "floor.yaml"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpus: [{index: 0, total_gb: 81}]", r"gpus\[0\].used_gb: Field required"),
        ("gpus: [{index: 0, total_gb: 8, used_gb: 9}]", "9 GB of 8 GB are used"),
        ("gpus: [{index: 0, total_gb: 81, used_gb: 0, colour: red}]", r"gpus\[0\].colour: Extra"),
        ("gpus: [{index: zero, total_gb: 81, used_gb: 0}]", r"gpus\[0\].index: .* valid integer"),
        ("gpus: [{index: 0, total_gb: 1, used_gb: 0}, {index: 0, total_gb: 1, used_gb: 0}]",
         "not all different"),
        ("gpus: [", "no YAML"),
        ("[]", "the file: Input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "floor.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=says) as error:
        read_survey(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such survey file"):
        read_survey(tmp_path / "none.yaml")


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a driver")
def test_without_a_driver_the_error_says_what_to_do() -> None:
    with pytest.raises(BadInput, match="--floor"):
        survey()


def test_a_command_is_shown_without_its_arguments() -> None:
    assert short_command(["/opt/bin/vllm", "serve", "--api-key", "secret"]) == "vllm"
    assert short_command(["python", "/srv/run.py", "secret"]) == "python run.py"
    assert short_command(["python3", "-m", "vllm.api", "--key", "secret"]) == "python3 -m vllm.api"
    assert short_command(["python3", "-c", "secret"]) == "python3"
    assert short_command([]) is None


def test_ours_are_those_that_carry_the_token_or_descend_from_one() -> None:
    assert OUR_VARIABLE == TOKEN
    # The child cleans its environment; its parent still carries the token.
    code = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(60)"
    parent = subprocess.Popen(
        [sys.executable, "-c",
         "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], env={})",
         code],
        env={**os.environ, TOKEN: "mine"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        assert surveys._tenant(parent.pid, 5).ours and surveys._tenant(child, 5).ours
        assert not surveys._tenant(os.getpid(), 5).ours
        assert surveys._tenant(child, 5).user == psutil.Process().username()
    finally:
        psutil.Process(child).kill()
        parent.wait(timeout=30)  # it ends with its child, having taken its status
    gone = surveys._tenant(child, 5)
    assert (gone.user, gone.command, gone.memory, gone.ours) == (None, None, 5, False)


def test_a_number_of_another_namespace_makes_nobody_ours() -> None:
    # The driver names a process by the host's number, and here that number is some other process.
    sleeper = subprocess.Popen(["sleep", "60"], env={**os.environ, TOKEN: "mine"})
    try:
        found = surveys._listed(sleeper.pid, 5)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert (found.user, found.command, found.ours) == (None, None, False)
