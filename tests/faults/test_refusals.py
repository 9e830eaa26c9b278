"""Wrong input, short resources: a run says what is wrong, and nothing has started."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml
from huggingface_hub import constants
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId

from deployments.settings import ROOT
from flows.campaign import campaign
from flows.experiments import games, patching
from pitboss.errors import BadInput, Mismatch, PitbossError
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.selection.experiment import Selection
from pitboss.models import catalogue
from tests.experiments.small import settings, small_study
from tests.faults.patched import prepare

Settings = dict[str, Any]
Write = Callable[[Settings], str]


@pytest.fixture
def write(prefect_api: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a study file where flows look for it; they may then load no model."""

    def refuse(*_: object) -> None:
        raise AssertionError("a model is loaded")

    def written(study: Settings) -> str:
        path = tmp_path / "studies" / "some.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
        return "studies/some.yaml"

    monkeypatch.setattr("tasks.study.ROOT", tmp_path)
    monkeypatch.setattr("tasks.model.open_context", refuse)
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path / "results"))
    return written


def changed(study: Settings, path: str, value: object) -> Settings:
    study = deepcopy(study)
    inner = study
    *parents, last = path.split(".")
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return study


def nothing_started(folder: Path) -> bool:
    return not list((folder / "results").rglob("*.parquet"))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("experiments.games.repetitons", 3, "repetitons: unknown key; did you mean repetitions?"),
        ("models.llama.id", "pitboss/lab-lama", "pitboss/lab-llama"),
        ("experiments.patching.trials", -20, "experiments.patching.trials"),
        ("models.llama.sae", "llama-scope-lxr-8x", "width 4096"),
    ],
)
def test_a_wrong_study_ends_the_run_before_its_folder_exists(
    write: Write, tmp_path: Path, path: str, value: object, says: str
) -> None:
    study = write(changed(settings(), path, value))
    with pytest.raises(BadInput, match="nothing has started") as refused:
        games(study=study)
    assert says in str(refused.value) and "some.yaml" in str(refused.value)
    assert not (tmp_path / "results").exists()


def test_missing_weights_without_network_end_the_run(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    plan = yaml.safe_load((ROOT / "studies" / "plan.yaml").read_text(encoding="utf-8"))
    with pytest.raises(BadInput, match=r"HF_HUB_OFFLINE is set.*HF_TOKEN.*hf download meta-llama"):
        games(study=write(plan))
    assert nothing_started(tmp_path)


@pytest.mark.parametrize("short", ["disk", "memory"])
def test_a_machine_without_room_ends_the_run(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: str
) -> None:
    if short == "disk":
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000_000))
    else:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1_000_000))
    with pytest.raises(BadInput, match=rf"\[{short}\] 0\.0 GB.*nothing has been computed"):
        games(study=write(settings()))
    assert nothing_started(tmp_path)


TABLE = {
    "path": "table.json",
    "space": "sae",
    "model": "pitboss/lab-llama",
    "sae": "pitboss/lab-llama-scope",
    "gate": "sae_lens",
    "hook_point": "blocks.{layer}.hook_resid_post",
    "token": "prompt_last",
    "d_sae": 256,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [("space", "hidden"), ("sae", "pitboss/lab-gemma-scope")],
)
def test_statistics_of_another_space_or_sae_end_the_run(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: object
) -> None:
    real = ROOT / "data" / "original" / "llama_scope_features_L25_L30.json"
    shutil.copy(real, tmp_path / "table.json")
    monkeypatch.setattr("pitboss.experiments.selection.imported.LAB_DIR", tmp_path / "lab")
    declared = {**TABLE, field: value}
    study = settings(features={"include": "none", "games": None, "imported": declared})
    # A screening of every feature needs the study's own statistics, which an import replaces.
    del study["experiments"]["screening"]
    with pytest.raises(Mismatch, match=f"{field}: .* here, .* asked"):
        games(study=write(study))
    assert nothing_started(tmp_path)


def test_a_pool_that_does_not_exist_ends_the_campaign_before_any_part(
    write: Write, tmp_path: Path
) -> None:
    started: list[str] = []
    campaign_here = campaign.with_options(on_failure=[lambda f, run, s: started.append(run.id)])
    study = write({**settings(), "floor": {"pools": {"pathway": "gpu-99"}}})
    with pytest.raises(BadInput, match="No worker is online"):
        campaign_here(study=study)
    assert not (tmp_path / "results").exists()
    [run_id] = started
    children = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        assert client.read_flow_runs(flow_run_filter=children) == []


def test_results_of_other_settings_are_not_mixed_in(write: Write, tmp_path: Path) -> None:
    store = open_store(small_study(games={"repetitions": 1}), tmp_path / "results")
    before = (store.path / "manifest.json").read_bytes()
    with pytest.raises(Mismatch, match=r"experiments\.games\.repetitions: 1 here, 2 asked"):
        games(study=write(settings()))
    assert (store.path / "manifest.json").read_bytes() == before
    assert nothing_started(tmp_path)


def test_results_of_another_librarys_version_are_not_mixed_in(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr("pitboss.experiments.runtime.study.version", lambda name: "1.0")
        open_store(small_study(), tmp_path / "results")
    with pytest.raises(Mismatch, match=r"versions\.\w+: '1\.0' here, '.*' asked"):
        games(study=write(settings()))
    assert nothing_started(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "meta-llama/Llama-3.1-8B"),
        ("sae", "llama-scope-lxr-8x"),
        ("gate", "authors"),
        ("features", "llama-0123456789abcdef"),
    ],
)
def test_a_bank_made_for_something_else_is_not_patched(
    tmp_path: Path, field: str, value: str
) -> None:
    plan = prepare(tmp_path)
    selection = plan["features"]
    assert isinstance(selection, Selection)
    bank = selection.bank()
    bank.meta[field] = value
    bank.save(selection.bank_path)
    again = plan_of(plan.study, plan.store)
    with pytest.raises(Mismatch, match=f"The feature bank has {field} '{value}'"):
        list(again["patching"].stages("llama"))


def test_a_missing_or_damaged_bank_is_told_with_its_place(write: Write, tmp_path: Path) -> None:
    plan = prepare(tmp_path / "results")
    selection = plan["features"]
    assert isinstance(selection, Selection)
    path = selection.bank_path
    text = (ROOT / "tests" / "faults" / "killed.yaml").read_text(encoding="utf-8")
    study = write(yaml.safe_load(text))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=r"damaged.*features\.safetensors"):
        patching(study=study)
    path.unlink()
    with pytest.raises(BadInput, match=r"incomplete.*features\.safetensors"):
        patching(study=study)
    assert plan.store.refs("trials") == []


def test_shipped_files_that_are_gone_end_the_run(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = catalogue.SAE_RELEASES["pitboss/lab-llama-scope"]
    gone = replace(release, local=tmp_path / "nowhere")
    monkeypatch.setitem(catalogue.SAE_RELEASES, release.id, gone)
    with pytest.raises(PitbossError, match=r"shipped files of pitboss/lab-llama-scope.*make lab"):
        games(study=write(settings()))
    assert nothing_started(tmp_path)
