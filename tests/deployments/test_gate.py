"""The approval gate on a real server: what is refused, what is asked again, what is stored."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow

from deployments import approve as command
from deployments.processes import wait_until
from flows.approve import approve
from pitboss.cli import main as pitboss
from pitboss.errors import BadInput
from pitboss.floor.memory.headroom import Limits, read_limits
from pitboss.floor.planning.approval import latest
from pitboss.store import KINDS, Store, part_key, table_of
from tasks import floor as floor_tasks
from tasks import study as study_tasks
from tasks.study import ROOT, open_results, read_study

STUDY = "studies/plan.yaml"
FLOOR = "studies/floors/plan.yaml"
GOOD = {"option": "C", "share_4": "yes", "share_2_6_7": "yes"}


class Gate:
    """One run of the gate. `go` is what a worker does: run it until it suspends or ends."""

    def __init__(self, client: SyncPrefectClient, folder: Path, days: float) -> None:
        self.client, self.folder = client, folder
        flow_id = client.create_flow(approve)
        deployment = client.create_deployment(flow_id, name="test", paused=True)
        parameters = {
            "study": STUDY,
            "survey": FLOOR,
            "figures": "studies/floors/plan-figures.yaml",
            "days": days,
            "start_campaign": False,
        }
        run = client.create_flow_run_from_deployment(deployment, parameters=parameters)
        self.id: UUID = run.id

    def go(self) -> str:
        run = self.client.read_flow_run(self.id)
        with suppress(Pause):  # how a suspension ends the process
            run_flow(approve, flow_run=run, parameters=run.parameters, return_type="state")
        return self.state

    @property
    def state(self) -> str:
        state = self.client.read_flow_run(self.id).state
        assert state is not None
        return str(state.name)

    def answer(self, **given: str) -> str:
        return command.answer(self.client, self.id, given)

    @property
    def text(self) -> str:
        return command.form(self.client, self.id)[0]


@pytest.fixture
def gate(
    prefect_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Gate]]:
    """Starts gates for the plan's floor, in a copy that a test may change."""
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    monkeypatch.setattr(study_tasks, "ROOT", tmp_path)
    monkeypatch.setenv("PITBOSS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PREFECT_API_URL", prefect_api.env["PREFECT_API_URL"])
    with get_client(sync_client=True) as client:
        yield lambda days=1.0: Gate(client, tmp_path, days)


def store() -> Store:
    return open_results(read_study(STUDY))


def commit_sums(results: Store, model: str) -> None:
    """A finished part of the feature statistics; what it says is of no account here."""
    kind = KINDS["sums"]
    row = {column.name: 1 if column.type != pa.string() else "x" for column in kind.columns}
    results.commit(
        "sums",
        part_key("llama/L01", {"model": model}),
        table_of("sums", [row | {"model": model}]),
        identity={"model": model},
        facts={"experiment": "features", "seconds": 2.0, "finished": 1.7e9, "device": "cuda:0"},
    )


def test_only_a_whole_and_right_answer_passes(
    gate: Callable[..., Gate], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = gate()
    assert asked.go() == "Suspended"
    assert "May GPU 4 be shared with exp5?" in asked.text and re.search(
        r"\| 5 +\| full +\| 0.5 GB", asked.text
    )
    for given, said in [
        ({}, "'option' is a required property"),
        ({**GOOD, "option": "Z"}, "'Z' is not one of"),
        ({"option": "C", "share_4": "yes"}, "'share_2_6_7' is a required property"),
        ({**GOOD, "share_5": "yes"}, "share_5"),
        ({**GOOD, "deadline": "soon"}, "soon"),
    ]:
        with pytest.raises(BadInput, match=said):
            asked.answer(**given)
    assert asked.state == "Suspended" and latest(store()) is None

    run = str(asked.id)
    assert command.main(["answer", run, "--option", "C"]) == 1
    assert "required property" in capsys.readouterr().err
    options = ["--option", "C", "--share-4", "yes", "--share-2-6-7", "yes", "--by", "Kim"]
    assert command.main(["answer", run, *options]) == 0
    assert asked.go() == "Completed"
    decision = latest(store())
    assert decision is not None and decision.gpus == [2, 4, 6, 7]
    assert (decision.decided_by, decision.run) == ("Kim", run)
    kept = json.loads((store().path / "approval/decision.json").read_text())
    assert kept["answers"]["option"] == "C" and kept["gpus"] == decision.gpus
    with pytest.raises(BadInput, match="waits for no answer"):
        assert asked.text


def test_a_changed_floor_or_a_contradiction_is_asked_again(gate: Callable[..., Gate]) -> None:
    asked = gate()
    assert asked.go() == "Suspended"
    floor = yaml.safe_load((asked.folder / FLOOR).read_text())
    floor["gpus"][0] |= {"used_gb": 60, "tenants": [{"user": "m-moon", "memory_gb": 60}]}
    (asked.folder / FLOOR).write_text(yaml.safe_dump(floor))
    asked.answer(**GOOD)
    assert asked.go() == "Suspended"
    assert "Asked again" in asked.text and "m-moon came to GPU 0" in asked.text
    assert latest(store()) is None

    asked.answer(**GOOD, deadline="2026-02-30")
    assert asked.go() == "Suspended"
    assert "is no date" in asked.text
    asked.answer(**{**GOOD, "share_4": "no"})
    assert asked.go() == "Suspended"
    assert "GPU 4 beside exp5, which the answer does not allow" in asked.text
    asked.answer(**GOOD)
    assert asked.go() == "Completed"
    decision = latest(store())
    assert decision is not None and decision.asked.survey.gpu(0).used == 60_000_000_000


def test_without_an_answer_in_time_nothing_starts(gate: Callable[..., Gate]) -> None:
    asked = gate(days=1 / 86_400)
    assert asked.go() == "Suspended"
    assert wait_until(lambda: asked.state == "Failed", seconds=30)
    state = asked.client.read_flow_run(asked.id).state
    assert state is not None and "never resumed" in (state.message or "")
    assert latest(store()) is None
    with pytest.raises(BadInput, match="waits for no answer"):
        assert asked.text


def test_a_campaign_that_requires_an_approval_starts_nothing_without(
    gate: Callable[..., Gate],
) -> None:
    study = read_study(STUDY)
    free = study.model_copy(update={"floor": study.floor.model_copy(update={"approval": "none"})})
    assert floor_tasks.approved(free) is free
    with pytest.raises(BadInput, match="Nobody has approved"):
        floor_tasks.approved(study)
    asked = gate()
    asked.go()
    asked.answer(**{**GOOD, "share_2_6_7": "no", "option": "D"})
    assert asked.go() == "Completed"
    pools = floor_tasks.approved(study).floor.pools
    assert pools["patching"] == pools["clamped"] == ["gpu-0", "gpu-1", "gpu-3", "gpu-4"]
    assert pools["games"] == {"llama": "gpu-0", "gemma": "gpu-1"}
    assert pools["pathway"] == {"llama": "gpu-3"}
    assert pools["words"]["llama"] in pools["patching"]
    usual = Limits(1, 2)
    limits = read_limits(floor_tasks.floor_folder(), [3, 4, 5], usual)
    assert limits[5] is usual  # full, so nothing was approved there
    assert 50e9 < limits[3].low < limits[3].restored < 60.1e9  # a job of 25 GB beside a safe margin


def test_a_pilot_kept_by_hand_is_what_the_gate_plans_with(
    gate: Callable[..., Gate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # whatever directory somebody works in
    kind = "NVIDIA A100 80GB"
    made_with = {"name": "done", "experiments": {"features": {"kind": "selection"}}}
    results = Store.create(tmp_path / "results", made_with)
    commit_sums(results, "meta-llama/Llama-3.1-8B")
    assert pitboss(["floor", "pilot", "done", "--kind", kind]) == 0
    assert (tmp_path / "home" / "floor" / "pilots.json").is_file()
    asked = gate()
    asked.go()
    assert "Nobody timed features-llama" not in asked.text
    shutil.rmtree(tmp_path / "home")
    asked = gate()
    asked.go()
    assert "Nobody timed features-llama" in asked.text and "at least" in asked.text
