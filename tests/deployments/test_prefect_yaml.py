"""prefect.yaml is read strictly: what Prefect would ignore is refused here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments import prefect_yaml
from deployments.deploy import Present, keep_operators_choice
from deployments.floor import Pool
from pitboss.errors import BadInput
from pitboss.experiments.registry import settings_types
from tests.deployments import floors

ENV = {"PITBOSS_ROOT": "/somewhere"}


@pytest.fixture
def floor() -> list[Pool]:
    return floors.floor()


def change(tmp_path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """The repository's own file with one change."""
    document = yaml.safe_load(prefect_yaml.FILE.read_text())
    edit(document)
    path = tmp_path / "prefect.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_file_of_this_repository_is_right(floor: list[Pool]) -> None:
    document = prefect_yaml.check(prefect_yaml.FILE, floor, ENV)
    prefect_yaml.check_flows(document)
    floor_pools = {"gpu-0", "gpu-1"}
    flows = {settings.flow for settings in settings_types().values()}
    assert flows >= {"games", "features", "pathway", "screening", "patching", "words"}
    assert prefect_yaml.names(document) == {
        "campaign/campaign",
        "approve/approve",
        "report/report",
        "watch/watch",
        *(f"{flow}/{pool}" for flow in flows for pool in floor_pools),
    }
    (step,) = document["pull"]
    assert step["prefect.deployments.steps.set_working_directory"] == {"directory": "/somewhere"}


def test_more_gpus_make_more_deployments_without_a_change_to_the_file() -> None:
    eight = floors.floor(gpus=8)
    assert len(prefect_yaml.check(prefect_yaml.FILE, eight, ENV)["deployments"]) == 4 + 8 * 8


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d.update(depolyments=[]), "depolyments"),
        (lambda d: d["deployments"][1].update(concurency_limit=1), "concurency_limit"),
        (lambda d: d["deployments"][1].update(concurrency_limit=1), "concurrency_limit"),
        (lambda d: d["deployments"][1]["work_pool"].update(job_varibles={}), "job_varibles"),
        (lambda d: d["deployments"][1].pop("description"), "description"),
        (lambda d: d["deployments"][1].update(entrypoint="games.py"), "entrypoint"),
        (lambda d: d["deployments"][0].update(entrypoint="flows/gamez.py:games"), "flows/gamez.py"),
        (lambda d: d["deployments"][0].update(entrypoint="flows/perform.py:begin"), "is no flow"),
        (lambda d: d["deployments"][0]["work_pool"].update(name="gpu-9"), "gpu-9"),
        (lambda d: d["deployments"][1].update(parameters={"sutdy": "x"}), "sutdy"),
        (lambda d: d["deployments"][0]["schedules"][0].pop("active"), "active"),
        (lambda d: d["deployments"].append(dict(d["deployments"][0])), "the same flow and name"),
        (lambda d: d["deployments"][0].update(description="{{ $GIT_SHA }}" * 3), "GIT_SHA"),
    ],
)
def test_a_mistake_is_refused_by_name(
    tmp_path: Path, floor: list[Pool], edit: Callable[[dict[str, Any]], None], said: str
) -> None:
    path = change(tmp_path, edit)
    with pytest.raises(BadInput, match=said):
        prefect_yaml.check_flows(prefect_yaml.check(path, floor, ENV))


def test_what_an_operator_switched_stays_as_it_is(floor: list[Pool]) -> None:
    document = prefect_yaml.check(prefect_yaml.FILE, floor, ENV)
    present = {"campaign/campaign": Present(paused=True, active={"nightly-demo": True})}
    kept = keep_operators_choice(document, present)["deployments"][0]
    assert kept["schedules"][0]["active"] is True and kept["paused"] is True
    fresh = keep_operators_choice(prefect_yaml.check(prefect_yaml.FILE, floor, ENV), {})
    assert fresh["deployments"][0]["schedules"][0]["active"] is False
    assert not any(entry["paused"] for entry in fresh["deployments"])
