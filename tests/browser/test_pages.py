"""What a person sees in the UI: the approval's form, a paused pool, and the watch.

With PITBOSS_PICTURES=docs/images the pictures of the docs are made anew.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.utilities.callables import parameter_schema

from deployments.automations import ensure_automations
from deployments.floor import Pool
from deployments.pools import ensure_pools
from deployments.processes import wait_until
from flows.approve import approve
from flows.experiments import patching
from flows.watch import watch
from pitboss.floor.memory.history import remember
from pitboss.floor.planning.approval import latest
from tasks import floor as floor_tasks
from tasks import study as study_tasks
from tasks.study import ROOT, open_results, read_study
from tests.browser import chromium

FLOOR = "studies/floors/plan.yaml"
PATIENCE = 30_000  # milliseconds


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1500, "height": 1000})
    opened.set_default_timeout(PATIENCE)
    yield opened
    opened.close()


@pytest.fixture
def client(
    prefect_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SyncPrefectClient]:
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    monkeypatch.setattr(study_tasks, "ROOT", tmp_path)
    monkeypatch.setenv("PITBOSS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path / "results"))
    with get_client(sync_client=True) as made:
        yield made


def url(server: Any, path: str) -> str:
    return f"http://127.0.0.1:{server.state.port}/{path}"


def picture(page: Any, name: str) -> None:
    chromium.picture(page, name, settle=1_500)  # pages fade in


def test_the_approvals_form_takes_no_empty_answer_and_a_right_one_goes_on(
    prefect_api: Any, client: SyncPrefectClient, page: Any
) -> None:
    deployment = client.create_deployment(client.create_flow(approve), name="seen", paused=True)
    parameters = {
        "study": "studies/plan.yaml",
        "survey": FLOOR,
        "figures": "studies/floors/plan-figures.yaml",
        "start_campaign": False,
    }
    run = client.create_flow_run_from_deployment(deployment, parameters=parameters)
    with suppress(Pause):
        run_flow(approve, flow_run=client.read_flow_run(run.id), parameters=parameters)
    page.goto(url(prefect_api, f"runs/flow-run/{run.id}"))
    page.get_by_role("button", name="Resume").first.click()
    form = page.get_by_role("dialog")
    form.get_by_text("May GPU 4 be shared with exp5?").first.wait_for()
    assert form.get_by_text("m-soar").count() > 0
    picture(page, "approval")
    form.get_by_role("button", name="Resume").or_(
        form.get_by_role("button", name="Submit")
    ).first.click()
    page.wait_for_timeout(1_500)
    state = client.read_flow_run(run.id).state
    assert state is not None and state.name == "Suspended"

    choose(page, form, "Which option for Exp2-llama?", "D")
    choose(page, form, "May GPUs 2, 6, 7 be shared with m-soar?", "no")
    choose(page, form, "May GPU 4 be shared with exp5?", "yes")
    form.locator("textarea").fill("Kim")
    form.get_by_role("button", name="Submit").click()
    assert wait_until(lambda: client.read_flow_run(run.id).state_name != "Suspended", seconds=15)
    run_flow(approve, flow_run=client.read_flow_run(run.id), parameters=parameters)
    decision = latest(open_results(read_study(parameters["study"])))
    assert decision is not None and decision.decided_by == "Kim"
    assert decision.gpus == [0, 1, 3, 4] and decision.option.letter == "D"


def choose(page: Any, form: Any, question: str, answer: str) -> None:
    """Take one of a question's choices; they open at the field's arrow, not at the field itself."""
    field = form.locator(".schema-form-property", has_text=question)
    field.locator(".p-select-button__icon").click()
    page.locator(".p-select-option", has_text=re.compile(rf"^\s*{answer}\s*$")).click()


def test_the_form_of_a_patching_run_explains_its_parameters(
    prefect_api: Any, client: SyncPrefectClient, page: Any
) -> None:
    deployment = client.create_deployment(
        client.create_flow(patching),
        name="gpu-0",
        paused=True,
        parameter_openapi_schema=parameter_schema(patching).model_dump(),
        parameters={"study": "studies/demo.yaml", "shard": 0, "shards": 2},
    )
    page.goto(url(prefect_api, f"deployments/deployment/{deployment}/run"))
    page.get_by_text("With which share of the units this run begins").first.wait_for()
    assert page.get_by_text("one shard", exact=False).count() == 0
    picture(page, "form")


def test_a_paused_pool_and_the_watch_are_shown(
    prefect_api: Any, client: SyncPrefectClient, page: Any, tmp_path: Path
) -> None:
    pools = [Pool(f"gpu-{n}", 1, f"One run at a time on GPU {n}.", {}) for n in range(8)]
    ensure_pools(client, pools)
    ensure_automations(client)
    floor = yaml.safe_load((tmp_path / FLOOR).read_text())
    now = datetime.now(UTC)
    for hours, used in ((20, 40.5), (15, 42.0), (9, 40.5), (3, 41.5), (0, 47.5)):
        grown = {"used_gb": used, "tenants": [{"user": "m-soar", "memory_gb": used}]}
        floor["gpus"][6] |= grown  # m-soar grows on GPU 6
        (tmp_path / FLOOR).write_text(yaml.safe_dump(floor))
        taken = (now - timedelta(hours=hours)).isoformat(timespec="seconds")
        seen = replace(floor_tasks.look(FLOOR), taken=taken)
        remember(seen, floor_tasks.floor_folder() / floor_tasks.HISTORY)
    for _ in range(6):  # an event that comes to nothing is said again at the next look
        watch(survey=FLOOR, low_gb=35, restored_gb=38)
        if client.read_work_pool("gpu-6").is_paused:
            break
    assert client.read_work_pool("gpu-6").is_paused
    page.goto(url(prefect_api, "work-pools/work-pool/gpu-6"))
    page.get_by_text("Paused", exact=True).first.wait_for()
    picture(page, "paused")
    page.goto(url(prefect_api, f"artifacts/artifact/{_newest(client)}"))
    page.get_by_text("paused: room short").first.wait_for()
    shown = page.locator("img[src^='data:image/png']").first
    shown.wait_for()
    assert shown.evaluate("image => image.naturalWidth") > 300
    picture(page, "watch")


def _newest(client: SyncPrefectClient) -> str:
    found = [a for a in client.read_artifacts() if a.key == floor_tasks.ARTIFACT]
    return str(max(found, key=lambda artifact: artifact.created).id)
