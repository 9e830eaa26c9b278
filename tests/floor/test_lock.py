"""The kernel's lock: one holder, named to others, and free the moment its process is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deployments.settings import ROOT
from pitboss.floor.locks.kernel_lock import Busy, KernelLock, lock_path

HOLD = """
import sys, time
from pathlib import Path
from pitboss.floor.locks.kernel_lock import KernelLock, lock_path
lock = KernelLock(lock_path(Path(sys.argv[1]), "gpu-3"))
lock.acquire("run-of-another")
print("held", flush=True)
time.sleep(600)
"""


def another(state: Path) -> "subprocess.Popen[str]":
    """Another process that holds the lock of gpu-3."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_second_process_is_refused_by_name_until_the_first_is_dead(
    tmp_path: Path, end: signal.Signals
) -> None:
    process = another(tmp_path)
    try:
        mine = KernelLock(lock_path(tmp_path, "gpu-3"))
        with pytest.raises(Busy, match=f"process {process.pid}, run run-of-another, since 2"):
            mine.acquire(patience=0)
        seen = mine.holder()
        assert seen is not None and (seen.pid, seen.run) == (process.pid, "run-of-another")
        assert KernelLock(
            lock_path(tmp_path, "gpu-4")
        ).try_acquire()  # another worker, another lock
    finally:
        process.send_signal(end)
        process.wait()
    assert mine.holder() is None
    mine.acquire("mine", patience=0)
    assert mine.holder().pid == os.getpid()  # type: ignore[union-attr]


def test_release_and_context(tmp_path: Path) -> None:
    path = lock_path(tmp_path, "x")
    with KernelLock(path) as first:
        assert first.held and not KernelLock(path).try_acquire()
    assert not first.held and KernelLock(path).holder() is None
    assert path.exists()
    with KernelLock(path, remove=True) as second:
        assert second.try_acquire()  # ours already
    assert not path.exists()
    second.release()


def test_only_the_kernel_is_believed(tmp_path: Path) -> None:
    path = lock_path(tmp_path, "gpu-0")
    path.parent.mkdir()
    path.write_text('{"pid": 1, "run": "long gone", "since": "2020"}')
    assert KernelLock(path).holder() is None
    with KernelLock(path):
        path.write_text("no json at all")
        unknown = KernelLock(path).holder()
        assert unknown is not None and unknown.pid == 0 and "unknown" in str(unknown)


def test_a_removed_file_is_noticed_and_never_locked_by_two_that_look(tmp_path: Path) -> None:
    path = lock_path(tmp_path, "gpu-0")
    first = KernelLock(path)
    first.acquire()
    assert not first.stolen()
    path.unlink()
    assert first.stolen()
    second = KernelLock(path)
    assert second.try_acquire() and not second.stolen()
    first.release()
    assert path.exists() and not KernelLock(path).try_acquire()


def test_a_forked_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    lock = KernelLock(lock_path(tmp_path, "gpu-0"))
    lock.acquire()
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.read(read, 1)  # until the parent has let go
        os._exit(1 if lock.held else 0)
    try:
        assert KernelLock(lock.path).holder() is not None  # the child closed a copy, no more
        lock.release()
        KernelLock(lock.path).acquire()  # patient: the child may not have run yet
    finally:
        os.write(write, b"x")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_looking_on_does_not_make_an_acquire_fail(tmp_path: Path) -> None:
    lock = KernelLock(lock_path(tmp_path, "gpu-0"))
    lock.acquire()
    lock.release()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            KernelLock(lock.path).holder()

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            lock.acquire()
            lock.release()
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()
