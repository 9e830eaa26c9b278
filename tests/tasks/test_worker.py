"""Workers of one machine load their models one after the other."""

import threading
import time
from pathlib import Path

import pytest

from pitboss.floor.locks.kernel_lock import KernelLock, lock_path
from tasks import worker


@pytest.fixture(autouse=True)
def a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PITBOSS_HOME", str(tmp_path))
    monkeypatch.setenv("PITBOSS_POOL", "gpu-0")


def test_workers_that_start_at_once_load_one_after_the_other() -> None:
    loading, most = 0, 0

    def load() -> None:
        nonlocal loading, most
        with worker.one_load_at_a_time():
            loading += 1
            most = max(most, loading)
            time.sleep(0.05)
            loading -= 1

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and loading == 0


def test_a_worker_that_waited_too_long_goes_on_without_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "LOAD_PATIENCE", 0.1)
    stuck = KernelLock(lock_path(tmp_path, "load"))
    stuck.acquire("somebody")
    loaded = False
    with worker.one_load_at_a_time():
        loaded = True
    assert loaded and "Loading without waiting any longer" in caplog.text
    assert stuck.held
    stuck.release()
