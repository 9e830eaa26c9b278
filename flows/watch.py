"""The watch: how the floor is, every few minutes, and which pools its memory closes and opens."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.logging import get_run_logger
from pydantic import Field

from flows.parameters import SurveyPath
from pitboss.floor.memory.headroom import LOW, RESTORED, Limits, Standing, Step, read_limits, step
from pitboss.floor.memory.history import FILE as HISTORY
from pitboss.floor.memory.history import remember
from tasks.floor import floor_folder, look, show_floor
from tasks.policies import FLOW
from tasks.pools import (
    GpuPool,
    announce_headroom,
    gpu_pools,
    read_standings,
    why_no_automation,
    write_standings,
)

Gigabytes = Annotated[float, Field(gt=0, le=10_000)]
# An automation acts within a second or two; what it did is recorded in the same look.
SETTLE_SECONDS = 15.0


@flow(name="watch", **FLOW)
def watch(
    survey: SurveyPath = None,
    low_gb: Gigabytes = 35.0,
    restored_gb: Gigabytes = 40.0,
) -> None:
    """Look at every GPU once: keep its memory history, show it, and say where room runs short.

    Room is what other people's processes leave, whether or not we use it now. When it falls below
    the lower limit, an event is emitted on which an automation pauses the GPU's work pool; from the
    upper limit on another one opens it. A pool that a person paused, or resumed in spite of it,
    stays as that person left it. Nobody's processes are touched.

    On GPUs that a person approved for a study, the limits follow from the margins approved.

    Args:
        survey: A survey file, such as studies/floors/plan.yaml, instead of this machine's GPUs.
        low_gb: Room in GB (10⁹ bytes) below which the pool of any other GPU is paused: what a job
            takes, and what should stay with the others.
        restored_gb: Room in GB from which it is opened again; above the lower limit.
    """
    usual = Limits(round(low_gb * 1e9), round(restored_gb * 1e9))
    found = look(survey)
    if survey:  # a file does not say when it is looked at
        found = replace(found, taken=datetime.now(UTC).isoformat(timespec="seconds"))
    folder = floor_folder()
    remember(found, folder / HISTORY)
    limits = read_limits(folder, [gpu.index for gpu in found.gpus], otherwise=usual)
    standings = read_standings(folder)
    with get_client(sync_client=True) as client:
        seen = gpu_pools(client, found)
        moved = {}
        for pool in seen:
            before = standings.get(pool.name, Standing.OPEN)
            moved[pool.name] = taken = step(
                before, room=pool.room, paused=pool.paused, limits=limits[pool.gpu]
            )
            standings[pool.name] = taken.standing
            if taken.event:
                announce_headroom(pool, taken, limits[pool.gpu])
        write_standings(folder, standings)  # first of all what was asked for, should we die now
        seen = settle(client, seen, moved)
    for pool in seen:
        if moved[pool.name].automatic:
            after = step(
                standings[pool.name], room=pool.room, paused=pool.paused, limits=limits[pool.gpu]
            ).standing
            standings[pool.name] = after
    write_standings(folder, standings)
    show_floor(found, seen, standings, folder / HISTORY, limits)


def settle(client: SyncPrefectClient, seen: list[GpuPool], moved: dict[str, Step]) -> list[GpuPool]:
    """Wait until the automations have done what was asked of them, or give up until next time."""
    waiting = {
        pool.name: taken.standing is Standing.PAUSING
        for pool in seen
        if (taken := moved[pool.name]).automatic
    }
    end = time.monotonic() + SETTLE_SECONDS
    now = {pool.name: pool.paused for pool in seen}
    while waiting and time.monotonic() < end:
        time.sleep(0.5)
        for name, paused in list(waiting.items()):
            now[name] = client.read_work_pool(name).is_paused
            if now[name] == paused:
                get_run_logger().info("%s is %s", name, "paused" if paused else "open again")
                del waiting[name]
    for name, paused in waiting.items():
        get_run_logger().warning(
            "%s is not %s: %s It is said again at the next look.",
            name,
            "paused" if paused else "open again",
            why_no_automation(client, LOW if paused else RESTORED),
        )
    return [replace(pool, paused=now[pool.name]) for pool in seen]
