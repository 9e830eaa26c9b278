"""The watch on a real server: events, the automations behind them, and a person's own pause."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.events.schemas.automations import Automation, AutomationCore

from deployments.automations import ensure_automations, wanted
from deployments.floor import Pool
from deployments.pools import ensure_pools
from flows import watch as watching
from flows.watch import watch
from pitboss.floor.memory.headroom import Limits, Standing, write_limits
from tasks import study as study_tasks
from tasks.floor import ARTIFACT
from tasks.pools import read_standings

POOL = "gpu-6"
# What the UI sends of an automation that was edited.
UPDATED = set(AutomationCore.model_fields) - {"owner_resource"}


@pytest.fixture
def client(
    prefect_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SyncPrefectClient]:
    """A server with the automations and the pool of GPU 6, open."""
    monkeypatch.setenv("PITBOSS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(study_tasks, "ROOT", tmp_path)
    with get_client(sync_client=True) as made:
        ensure_automations(made)
        ensure_pools(made, [Pool(POOL, 1, "A pool.", {})])
        pause(made, False)
        yield made


def pause(client: SyncPrefectClient, paused: bool) -> None:
    client.update_work_pool(POOL, WorkPoolUpdate(is_paused=paused))


def is_paused(client: SyncPrefectClient) -> bool:
    return client.read_work_pool(POOL).is_paused


def look(tmp_path: Path, used_gb: float, tries: int = 6) -> str:
    """One look at a floor on which somebody holds so much of GPU 6; where the pool stands then."""
    tenant = {"user": "m-soar", "command": "server", "memory_gb": used_gb}
    gpu = {"index": 6, "name": "A100", "total_gb": 81, "used_gb": used_gb, "tenants": [tenant]}
    (tmp_path / "floor.yaml").write_text(yaml.safe_dump({"host": "test", "gpus": [gpu]}))
    for _ in range(tries):  # an event that comes to nothing is said again at the next look
        watch(survey="floor.yaml", low_gb=35, restored_gb=40)
        standing = read_standings(tmp_path / "home" / "floor")[POOL]
        if standing not in (Standing.PAUSING, Standing.RESUMING):
            break
    return str(standing)


def shown_now(client: SyncPrefectClient) -> str:
    """The floor's artifact."""
    looks = [a for a in client.read_artifacts() if a.key == ARTIFACT]
    return str(max(looks, key=lambda artifact: artifact.created).data)


def eventually(holds: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.2)
    return holds()


def test_a_short_room_pauses_the_pool_and_room_opens_it(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    assert look(tmp_path, 30) == "open" and not is_paused(client)
    assert look(tmp_path, 50) == "paused" and is_paused(client)
    assert look(tmp_path, 44) == "paused" and is_paused(client)  # between the limits
    assert look(tmp_path, 30) == "open" and not is_paused(client)
    text = shown_now(client)
    assert "m-soar" in text and "data:image/png;base64," in text and len(text) < 100_000


def test_an_approved_gpu_is_closed_by_the_margin_that_was_approved(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    write_limits(tmp_path / "home" / "floor", {6: Limits(55_000_000_000, 60_000_000_000)})
    assert look(tmp_path, 20) == "open" and not is_paused(client)
    assert look(tmp_path, 30) == "paused" and is_paused(client)  # 51 GB are enough elsewhere
    assert "55.0 GB, 60.0 GB" in shown_now(client)
    assert look(tmp_path, 20) == "open" and not is_paused(client)


def test_a_persons_own_pause_is_kept(client: SyncPrefectClient, tmp_path: Path) -> None:
    pause(client, True)
    assert look(tmp_path, 50) == "operator's"
    assert look(tmp_path, 30) == "open"
    assert not eventually(lambda: not is_paused(client), seconds=3)


def test_a_pool_resumed_by_hand_is_not_paused_again(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    assert look(tmp_path, 50) == "paused"
    pause(client, False)
    assert look(tmp_path, 50) == "operator's"
    assert not eventually(lambda: is_paused(client), seconds=3)


def test_automations_are_made_once_and_one_switched_off_stays_off(
    client: SyncPrefectClient,
) -> None:
    names = [automation.name for automation in wanted()]
    assert ensure_automations(client) == dict.fromkeys(names, "unchanged")
    found = edited_by_hand(client)
    client.pause_automation(found.id)
    assert ensure_automations(client)[names[0]] == "updated"
    assert ensure_automations(client)[names[0]] == "unchanged"
    (after,) = client.read_automations_by_name(names[0])
    assert (after.enabled, after.description) == (False, wanted()[0].description)
    client.delete_automation(found.id)
    assert ensure_automations(client)[names[0]] == "created"


def test_an_automation_that_was_brought_up_to_date_and_off_and_on_acts_as_before(
    client: SyncPrefectClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = edited_by_hand(client)
    client.pause_automation(found.id)
    ensure_automations(client)
    with monkeypatch.context() as patience:
        patience.setattr(watching, "SETTLE_SECONDS", 2.0)
        assert look(tmp_path, 50, tries=1) == "pausing" and not is_paused(client)
    assert "gpu-6 is not paused: its automation is switched off" in caplog.text
    assert "**open, although its room is short**" in shown_now(client)
    client.resume_automation(found.id)
    assert look(tmp_path, 50) == "paused" and is_paused(client)


def edited_by_hand(client: SyncPrefectClient) -> Automation:
    """The automation that pauses pools, with a description that a person wrote in the UI."""
    (found,) = client.read_automations_by_name(wanted()[0].name)
    body = found.model_dump(mode="json", include=UPDATED) | {"description": "by hand"}
    client.request("PUT", f"/automations/{found.id}", json=body).raise_for_status()
    return found
