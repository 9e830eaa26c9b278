"""The watch on a real server: events, the automations behind them, and a person's own pause."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate

from deployments.automations import ensure_automations, wanted
from deployments.floor import Pool
from deployments.pools import ensure_pools
from flows.watch import watch
from pitboss.floor.headroom import Limits, Standing
from pitboss.floor.limits import write_limits
from tasks import study as study_tasks
from tasks.floor import ARTIFACT, read_standings

POOL = "gpu-6"


@pytest.fixture
def client(
    prefect_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SyncPrefectClient]:
    """A server with the automations and the pool of GPU 6, open."""
    monkeypatch.setenv("PITBOSS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(study_tasks, "ROOT", tmp_path)
    with get_client(sync_client=True) as made:
        ensure_automations(made)
        asyncio.run(_pool())
        pause(made, False)
        yield made


async def _pool() -> None:
    async with get_client() as made:
        await ensure_pools(made, [Pool(POOL, 1, "A lane.", {})])


def pause(client: SyncPrefectClient, paused: bool) -> None:
    client.update_work_pool(POOL, WorkPoolUpdate(is_paused=paused))


def is_paused(client: SyncPrefectClient) -> bool:
    return client.read_work_pool(POOL).is_paused


def look(tmp_path: Path, used_gb: float) -> str:
    """One look at a floor on which somebody holds so much of GPU 6; where the pool stands then."""
    tenant = {"user": "m-soar", "command": "server", "memory_gb": used_gb}
    gpu = {"index": 6, "name": "A100", "total_gb": 81, "used_gb": used_gb, "tenants": [tenant]}
    (tmp_path / "floor.yaml").write_text(yaml.safe_dump({"host": "test", "gpus": [gpu]}))
    for _ in range(6):  # an event that comes to nothing is said again at the next look
        watch(survey="floor.yaml", low_gb=35, restored_gb=40)
        standing = read_standings(tmp_path / "home" / "floor")[POOL]
        if standing not in (Standing.PAUSING, Standing.RESUMING):
            break
    return str(standing)


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
    (shown,) = [a for a in client.read_artifacts() if a.key == ARTIFACT][:1]
    text = str(shown.data)
    assert "m-soar" in text and "data:image/png;base64," in text and len(text) < 100_000


def test_an_approved_gpu_is_closed_by_the_margin_that_was_approved(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    write_limits(tmp_path / "home" / "floor", {6: Limits(55_000_000_000, 60_000_000_000)})
    assert look(tmp_path, 20) == "open" and not is_paused(client)
    assert look(tmp_path, 30) == "paused" and is_paused(client)  # 51 GB are enough elsewhere
    looks = [a for a in client.read_artifacts() if a.key == ARTIFACT]
    shown = max(looks, key=lambda artifact: artifact.created)
    assert "55.0, 60.0 GB" in str(shown.data)
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
    (found,) = client.read_automations_by_name(names[0])
    changed = wanted()[0].model_copy(update={"enabled": False, "description": "by hand"})
    client.update_automation(found.id, changed)
    assert ensure_automations(client)[names[0]] == "updated"
    (after,) = client.read_automations_by_name(names[0])
    assert (after.enabled, after.description) == (False, wanted()[0].description)
    client.delete_automation(found.id)  # other tests of this server need it as it was
    assert ensure_automations(client)[names[0]] == "created"
