"""`python -m deployments.reconcile --once | --every 15`: make the server agree with what lives.

A worker that is stopped, or a machine that goes down, leaves runs "Running", "Pending" or
"Cancelling" for ever, and their places in the work pool taken. Whether a run lives is known to the
kernel alone: it holds its pool's lock. A run whose lock has been free for longer than the grace is

* set to Crashed and then scheduled again, so that the next worker goes on from its last part; or
* set to Cancelled, if that was asked for.

A run whose lock is held is left alone, whatever the server says of it: it looks for itself at its
next boundary. No process is ever signalled from here.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import State
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import AwaitingRetry, Cancelled, Crashed

from deployments.floor import this_floor
from deployments.settings import house
from pitboss.errors import BadInput, PitbossError
from pitboss.experiments.registry import settings_types
from pitboss.floor.locks.kernel_lock import KernelLock, lock_path
from tasks.worker import lock_name

GRACE_SECONDS = 60.0
# A run is Pending while its process starts and imports, which takes long on a busy machine.
PENDING_FACTOR = 2
EVERY_SECONDS = 15.0
MAX_RUNS = 5
# Flows that hold a lock while they run (see tasks.study.begin). Others are none of our business.
HOLDING = ("campaign", *(settings.flow for settings in settings_types().values()))
LOOKED_AT = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


@dataclass
class Suspect:
    """A run without a living process: since when (by our own clock), and how often it was seen."""

    state: UUID
    since: float
    looks: int = 0


class Reconciler:
    """Looks at the runs of some work pools again and again.

    Args:
        client: The server.
        folder: The house's state folder, with its locks.
        pools: Names of the work pools of this machine. Locks say nothing about other machines.
        grace: Seconds for which a run may be without a lock, because it starts or has just ended.
        once: Judge by the server's times alone, from a single look. Otherwise a run must be seen
            dead twice, and a clock that jumps ends nothing that lives.
    """

    def __init__(
        self,
        client: SyncPrefectClient,
        folder: Path,
        pools: Iterable[str],
        *,
        grace: float = GRACE_SECONDS,
        once: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._folder, self.pools = client, folder, set(pools)
        self._grace, self._once, self._clock = grace, once, clock
        self._suspects: dict[UUID, Suspect] = {}
        self._resumed: Counter[UUID] = Counter()

    def look(self) -> list[str]:
        """Act on every run that is dead for long enough; return what was done, as sentences."""
        runs = {run.id: run for run in self._runs() if not self._lives(run)}
        self._suspects = {id: known for id, known in self._suspects.items() if id in runs}
        said = []
        for run in runs.values():
            if self._due(run) and (done := self._settle(run)):
                said.append(done)
        return said

    def _runs(self) -> Sequence[FlowRun]:
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=LOOKED_AT))
        return self._client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(HOLDING))),
            flow_run_filter=FlowRunFilter(state=state),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=sorted(self.pools))),
        )

    def _lives(self, run: FlowRun) -> bool:
        """Whether a process holds this run's lock. An unknown holder counts as this run."""
        name = lock_name(run.work_pool_name or "", str(run.id))
        holder = KernelLock(lock_path(self._folder, name)).holder()
        return holder is not None and holder.run in ("", str(run.id))

    def _due(self, run: FlowRun) -> bool:
        assert run.state is not None
        grace = self._grace * (PENDING_FACTOR if run.state.is_pending() else 1)
        known = self._suspects.get(run.id)
        if known is None or known.state != run.state.id:
            known = self._suspects[run.id] = Suspect(run.state.id, self._clock())
        known.looks += 1
        old = (datetime.now(UTC) - run.state.timestamp).total_seconds() >= grace
        if self._once:
            return old
        return known.looks > 1 and (old or self._clock() - known.since >= grace)

    def _settle(self, run: FlowRun) -> str:
        """Set the run's states, unless it has moved or come to life since the look."""
        now = self._client.read_flow_run(run.id)
        if now.state is None or run.state is None or now.state.id != run.state.id:
            return ""
        if self._lives(now):
            return ""
        was = now.state.name
        if now.state.is_cancelling():
            gone: State[Any] = Cancelled(message="Its process had ended before it could say so.")
            self._client.set_flow_run_state(run.id, gone, force=True)
            return f"{run.name}: {was}, its process is gone; now Cancelled"
        dead: State[Any] = Crashed(message=f"It was {was} without a living process on its pool.")
        self._client.set_flow_run_state(run.id, dead, force=True)
        if max(now.run_count, self._resumed[run.id]) >= MAX_RUNS:
            return f"{run.name}: {was}, its process is gone, for the {MAX_RUNS}th time; now Crashed"
        self._resumed[run.id] += 1
        again: State[Any] = AwaitingRetry(message="Goes on from its last finished part.")
        self._client.set_flow_run_state(run.id, again, force=True)
        return f"{run.name}: {was}, its process is gone; scheduled again"


def look_again(reconciler: Reconciler) -> list[str]:
    """One look of many, at the pools that the floor has now and at those that it had before.

    A floor file that cannot be read and a server that does not answer are only said: there will be
    another look.
    """
    said = []
    try:
        reconciler.pools.update(pool.name for pool in this_floor())
    except BadInput as error:
        said.append(str(error))
    try:
        return said + reconciler.look()
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        return [*said, f"The server did not answer ({type(error).__name__}); asking again."]


def watch(reconciler: Reconciler, every: float) -> None:
    """Look for ever."""
    while True:
        said = look_again(reconciler)
        for sentence in said:
            print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {sentence}", flush=True)
        time.sleep(every)


def main() -> int:
    os.umask(0o077)
    parser = argparse.ArgumentParser(description="Settle runs whose process is gone.")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--once", action="store_true", help="Look once and end.")
    how.add_argument("--every", type=float, help="Look again and again, so many seconds apart.")
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS, help="Seconds (default 60).")
    asked = parser.parse_args()
    place = house()
    try:
        # Two of them would do everything twice.
        with (
            KernelLock(lock_path(place.home, "reconciler")),
            get_client(sync_client=True) as client,
        ):
            pools = [pool.name for pool in this_floor()]
            reconciler = Reconciler(
                client, place.home, pools, grace=asked.grace, once=bool(asked.once)
            )
            if not asked.once:
                watch(reconciler, asked.every)
            print("\n".join(reconciler.look()) or "Every run has a living process.")
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
