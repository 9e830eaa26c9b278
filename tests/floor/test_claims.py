"""Workers that share units out as they work: each is computed once, whoever dies or leaves."""

import fcntl
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.floor.locks.claims import Queue, claim_path, in_turn
from pitboss.floor.locks.kernel_lock import KernelLock
from tests.floor.claimed import UNITS, Sample, files, samples
from tests.store.samples import commit, key, store

WORKERS = 3


def worker(root: Path, number: int, seconds: float = 0.01) -> None:
    """Work until all units are finished, and note each start and end in a journal."""
    here = store(root / "shared")
    journal = os.open(root / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, unit: Sample) -> None:
        os.write(journal, f"{what} {unit.number} {os.getpid()}\n".encode())

    queue = Queue(here, in_turn(samples(), number % WORKERS, WORKERS), every=0.01)
    while claim := queue.take():
        with claim, (root / f"computing-{claim.unit.number}").open("w") as alone:
            note("start", claim.unit)
            try:
                fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note("overlap", claim.unit)
            time.sleep(seconds)
            commit(here, claim.unit.number)
            note("end", claim.unit)


def child(work: Callable[[], None]) -> int:
    """A process of its own that does the work; its exit code says whether it could."""
    if pid := os.fork():
        return pid
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_each_unit_is_finished_once_and_the_bytes_are_the_same(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    alive = [child(lambda n=n: worker(tmp_path, n)) for n in range(WORKERS)]  # type: ignore[misc]
    killed: list[int] = []
    for joining in range(10):
        time.sleep(rng.uniform(0.005, 0.06))
        victim = alive.pop(rng.randrange(len(alive)))
        os.kill(victim, signal.SIGKILL)
        if os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]) == -signal.SIGKILL:
            killed.append(victim)
        alive.append(child(lambda n=joining: worker(tmp_path, n)))  # type: ignore[misc]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in alive] == [0] * WORKERS
    assert killed

    notes = [line.split() for line in (tmp_path / "journal").read_text().splitlines()]
    assert "overlap" not in {what for what, _, _ in notes}
    starts = Counter(number for what, number, _ in notes if what == "start")
    ends = Counter(number for what, number, _ in notes if what == "end")
    assert max(ends.values()) == 1 and len(starts) == UNITS
    # Whatever was started twice was started by somebody who was killed at it.
    ended = {(number, pid) for what, number, pid in notes if what == "end"}
    broken = [n for what, n, pid in notes if what == "start" and (n, pid) not in ended]
    assert sum(starts.values()) - UNITS <= len(broken) <= len(killed)

    shared, single = store(tmp_path / "shared"), store(tmp_path / "single")
    for sample in samples():
        commit(single, sample.number)
    assert files(shared) == files(single)
    assert shared.combine("trials", None, "all").read_bytes() == (
        single.combine("trials", None, "all").read_bytes()
    )


def test_a_worker_waits_for_a_claimed_unit_and_takes_it_over_when_its_worker_is_killed(
    tmp_path: Path,
) -> None:
    here = store(tmp_path / "shared")
    for number in range(1, UNITS):
        commit(here, number)
    slow = child(lambda: worker(tmp_path, 0, seconds=600))
    journal = tmp_path / "journal"
    while not (journal.exists() and journal.read_text().startswith("start")):
        time.sleep(0.01)
    looks: list[float] = []

    def kill_at_the_third_look() -> str:
        looks.append(time.monotonic())
        if len(looks) == 3:
            os.kill(slow, signal.SIGKILL)
            os.waitpid(slow, 0)
        return ""

    queue = Queue(here, samples(), stop=kill_at_the_third_look, every=0.05)
    claim = queue.take()
    assert claim is not None and claim.unit.number == 0
    assert len(looks) == 3 and time.monotonic() - looks[2] < 2


def test_a_worker_that_is_asked_to_stop_leaves_with_its_reason(tmp_path: Path) -> None:
    here, reasons = store(tmp_path), iter(["", "pool paused"])
    queue = Queue(here, samples(3), stop=lambda: next(reasons))
    with queue.take() as claim:  # type: ignore[union-attr]
        commit(here, claim.unit.number)
    assert queue.take() is None
    assert queue.stopped == "pool paused"
    assert [unit.number for unit in queue.left if unit.ref(here) is None] == [1, 2]


def test_a_unit_given_up_goes_to_another_worker(tmp_path: Path) -> None:
    here = store(tmp_path)
    first, second = (Queue(here, samples(2), every=0.01) for _ in range(2))
    with first.take() as claim:  # type: ignore[union-attr]
        first.give_up(claim.unit)
    with first.take() as claim:  # type: ignore[union-attr]
        assert claim.unit.number == 1
        commit(here, 1)
    assert first.take() is None and [unit.number for unit in first.given_up] == [0]
    with second.take() as claim:  # type: ignore[union-attr]
        assert claim.unit.number == 0
        commit(here, 0)
    assert second.take() is None and not second.given_up and not first.given_up


def test_an_error_gives_the_claim_back_and_a_claim_leaves_no_file(tmp_path: Path) -> None:
    here = store(tmp_path)
    queue = Queue(here, samples(1), run="a run")
    path = claim_path(here, key(0))
    with pytest.raises(ZeroDivisionError), queue.take():  # type: ignore[union-attr]
        assert KernelLock(path).holder().run == "a run"  # type: ignore[union-attr]
        raise ZeroDivisionError
    assert not path.exists()
    assert queue.take() is not None


@given(st.integers(0, 40), st.integers(1, 8))
def test_every_worker_has_all_units_and_begins_with_a_share_of_its_own(
    units: int, workers: int
) -> None:
    orders = [in_turn(range(units), worker, workers) for worker in range(workers)]
    assert all(sorted(order) == list(range(units)) for order in orders)
    own = [order[: len(range(units)[worker::workers])] for worker, order in enumerate(orders)]
    assert sorted(n for share in own for n in share) == list(range(units))
