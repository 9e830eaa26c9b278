"""This process at work for a pool: the lock that says it lives, and whether it is asked to stop.

Nothing here does anything in a bare process, such as a flow called from a script.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import State, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import Abort
from prefect.logging import get_run_logger
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import Cancelled

from pitboss.errors import OutOfMemory
from pitboss.floor.locks.kernel_lock import Busy, KernelLock, lock_path
from pitboss.folders import house_folder

CONTROL = "control"
# Shorter than the reconciler's grace: a run that waits for the lock is not taken for a dead one.
LOCK_PATIENCE = 40.0
LOAD_PATIENCE = 600.0
ASK_TIMEOUT = 5.0
ASK_EVERY_SECONDS = 4.0
FLUSH_PATIENCE = 10.0
EXIT_DEVICE_LOST = 70
PAUSED = "somebody paused the work pool"
# Name of the state in which a run of a paused pool ends: not finished, and nothing went wrong.
LEFT = "Left"

_held: dict[Path, KernelLock] = {}


class GivenUp(OutOfMemory):
    """Work that waited for memory was given up, because its run was asked to stop."""


def pool_name() -> str:
    """The work pool this run came through; empty in a bare process."""
    return os.environ.get("PITBOSS_POOL", "")


def state_folder() -> Path:
    """Where the house keeps its locks."""
    return house_folder()


def lock_name(pool: str, run: str) -> str:
    """The lock of a run: one for a GPU's pool, whichever run it does; one for each of `control`."""
    return f"{CONTROL}-{run}" if pool == CONTROL else pool


def hold_pool() -> None:
    """Hold the lock of this run's pool until the process ends. A bare process holds nothing.

    A run that was cancelled may need a moment to die, so the next one waits for it.

    Raises:
        Busy: Another living process holds the pool; the message names it.
    """
    pool, run = pool_name(), str(runtime.flow_run.id or "")
    if not pool:
        return
    lock = KernelLock(lock_path(state_folder(), lock_name(pool, run)))
    if lock.path in _held:
        return
    lock.acquire(run, patience=LOCK_PATIENCE)
    _held[lock.path] = lock


class Asked:
    """Whether this run is asked to stop; the server hears each question every few seconds at most.

    A worker that was replaced cannot stop the runs of its predecessor, and a paused pool only stops
    new ones, so a run looks for itself. A server that does not answer stops nothing.
    """

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def to_end(self) -> str:
        """Why this run should end at the next boundary, or nothing: it was cancelled or paused."""
        return self._due("end", lambda client, run: _ending(client.read_flow_run(run).state))

    def to_leave(self) -> str:
        """As `to_end`, or because the pool is paused or no longer ours alone."""

        def look(client: SyncPrefectClient, run: UUID) -> str:
            pool = pool_name()
            if ending := _ending(client.read_flow_run(run).state):
                return ending
            return f"{PAUSED} {pool}" if client.read_work_pool(pool).is_paused else ""

        if stolen := [lock.path.name for lock in _held.values() if lock.stolen()]:
            return f"the lock {stolen[0]} was removed, so another run may be on this pool"
        return self._due("leave", look)

    def _due(self, question: str, look: Callable[[SyncPrefectClient, UUID], str]) -> str:
        run, last = runtime.flow_run.id, self._at.get(question, float("-inf"))
        if not run or not pool_name() or time.monotonic() - last < ASK_EVERY_SECONDS:
            return ""
        short = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: ASK_TIMEOUT}
        try:
            with temporary_settings(updates=short), get_client(sync_client=True) as client:
                if reason := look(client, UUID(run)):
                    return reason  # and asked again at once, should anybody go on
        except Exception as error:  # whatever the server does, the work is worth more
            _logger().warning(
                "Could not ask whether to stop (%s: %s); the work goes on.",
                type(error).__name__,
                error,
            )
        self._at[question] = time.monotonic()
        return ""


def _ending(state: State[Any] | None) -> str:
    if state is None or not (state.is_cancelling() or state.is_paused() or state.is_final()):
        return ""
    return f"the run was set to {state.name}"


asked = Asked()


def give_up_if_asked(*, elastic: bool) -> None:
    """For a run that can do nothing but wait for memory: end the waiting if it was asked to stop.

    Args:
        elastic: Whether a paused pool is such a request; others finish what they began.

    Raises:
        GivenUp: It was.
    """
    if reason := asked.to_leave() if elastic else asked.to_end():
        raise GivenUp(f"Given up while waiting for memory: {reason}.", where=pool_name())


def end_if_asked() -> None:
    """End this run as cancelled if it was, for a run that no worker watches any more.

    Raises:
        Abort: The run is over; its state is already reported.
    """
    reason = asked.to_end()
    if not reason:
        return
    _logger().warning("Ending at this boundary: %s.", reason)
    with get_client(sync_client=True) as client:
        message = f"Ended between two parts: {reason}. Finished parts are kept."
        client.set_flow_run_state(UUID(str(runtime.flow_run.id)), Cancelled(message=message))
    raise Abort(reason)


def end_process(reason: str) -> None:
    """End this process at once, so that its pool's worker sees a crash; a bare process goes on.

    Python's own end would first free tensors on a device that no longer answers.
    """
    if not pool_name():
        return
    _logger().error("This process cannot use its device any more and ends. %s", reason)
    flush = threading.Thread(target=logging.shutdown, daemon=True)
    flush.start()
    flush.join(FLUSH_PATIENCE)
    os._exit(EXIT_DEVICE_LOST)


def left(reason: str, remaining: int) -> State[Any]:
    """The end of a run that leaves work to other workers."""
    _logger().warning("Leaving %d parts to other workers: %s.", remaining, reason)
    name = LEFT if reason.startswith(PAUSED) else "Cancelled"
    return Cancelled(name=name, message=f"{remaining} parts left to other workers: {reason}.")


@contextmanager
def one_load_at_a_time() -> Iterator[None]:
    """Let workers of this machine load their models one after the other.

    Twelve at once would need twelve copies in memory and read the disk at a twelfth of its speed.
    One that has waited too long goes on without its turn. A bare process does not queue.
    """
    if not pool_name():
        yield
        return
    lock = KernelLock(lock_path(state_folder(), "load"))
    try:
        lock.acquire(str(runtime.flow_run.id or ""), patience=LOAD_PATIENCE)
    except Busy as busy:
        _logger().warning("Loading without waiting any longer: %s", busy)
    try:
        yield
    finally:
        lock.release()


def _logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    return get_run_logger() if runtime.flow_run.id else logging.getLogger(__name__)
