"""A worker that others keep off its GPU listens: it ends when cancelled, leaves when paused."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from flows.experiments import patching
from pitboss.experiments.runtime.context import ModelContext
from pitboss.floor.memory.guard import Footprint, Thresholds
from pitboss.floor.memory.watcher import Watcher, while_parked
from pitboss.models.loading import load_model
from tasks import model, worker
from tasks.worker import LEFT
from tests.faults.patched import STUDY, finished, prepare

POOL = "parked"
RESERVE = 1_000_000


class Crowd:
    """Somebody who takes the whole GPU and keeps it, once a first chunk is finished."""

    def __init__(self, records: Path) -> None:
        self._records, self.parked = records, threading.Event()

    def free(self) -> int:
        return 0 if list(self._records.rglob("*.json")) else 10**12

    def say(self, sentence: str) -> None:
        if " park " in sentence:
            self.parked.set()


@pytest.fixture
def client(
    prefect_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SyncPrefectClient]:
    """This process works for the pool, and nobody else is there to stop its runs."""
    monkeypatch.setenv("PITBOSS_POOL", POOL)
    monkeypatch.setenv("PITBOSS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr("tasks.study.ROOT", tmp_path)
    shutil.copy(STUDY, tmp_path / "killed.yaml")
    worker.asked._at.clear()
    model._held.clear()
    with get_client(sync_client=True) as made:
        made.create_work_pool(WorkPoolCreate(name=POOL, type="process"), overwrite=True)
        yield made
    model._held.clear()
    for lock in worker._held.values():
        lock.release()
    worker._held.clear()


@pytest.mark.parametrize("end", ["Cancelled", LEFT])
def test_a_parked_worker_stops_within_seconds(
    client: SyncPrefectClient,
    prefect_api: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    store = prepare(tmp_path / "results").store
    crowd = Crowd(store.path / "records" / "trials")

    def open_context(study: Any, alias: str, device: str) -> ModelContext:
        thresholds = Thresholds(reserve=RESERVE, margin=0, patience_s=0)
        watcher = Watcher(crowd.free, thresholds, every_s=0.02, say=crowd.say).start()
        loaded = load_model("pitboss/lab-llama", dtype="float32")
        return ModelContext(study, alias, loaded, [], watcher)

    monkeypatch.setattr(model, "open_context", open_context)
    run = client.create_flow_run(patching, parameters={"study": "killed.yaml"})

    asked_at: list[float] = []

    def ask() -> None:
        if not crowd.parked.wait(60):
            return
        asked_at.append(time.monotonic())
        updates = {PREFECT_API_URL: prefect_api.env["PREFECT_API_URL"]}
        with temporary_settings(updates=updates), get_client(sync_client=True) as other:
            if end == LEFT:
                other.update_work_pool(POOL, WorkPoolUpdate(is_paused=True))
            else:
                other.set_flow_run_state(run.id, Cancelling(), force=True)

    asking = threading.Thread(target=ask)
    asking.start()
    with suppress(Abort):  # how a cancelled run ends its process
        run_flow(patching, flow_run=run, parameters=run.parameters, return_type="state")
    asking.join()
    assert asked_at and time.monotonic() - asked_at[0] < 20
    state = client.read_flow_run(UUID(str(run.id))).state
    assert state is not None and state.name == end, state
    assert 1 <= len(finished(store)) < 5
    assert not list((store.path / "claims").rglob("*.lock"))  # others may take the chunk


def test_only_a_job_that_waits_is_asked_and_only_inside() -> None:
    free = 10**12
    watcher = Watcher(lambda: free, Thresholds(reserve=RESERVE, margin=0, patience_s=0))
    watcher.every_s = 0.01
    asked: list[int] = []
    watcher.about(4, Footprint(base=1000, slot=100))
    with while_parked(lambda: asked.append(1)):
        watcher.look()
        assert watcher(4) == 4 and not asked
        free = 0
        watcher.look()
        assert watcher(4) == 0 and not asked
        assert watcher(0) == 0 and asked == [1]
    assert watcher(0) == 0 and asked == [1]
