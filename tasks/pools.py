"""The GPUs' work pools as the watch sees them: are they paused, and what is said about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound

from pitboss.floor.memory.gpus import Survey
from pitboss.floor.memory.headroom import AUTOMATIC, Limits, Standing, Step
from pitboss.floor.planning.pool_assignment import pool_of
from pitboss.formats import gb
from pitboss.store.documents import read_value, replace_json

STANDINGS = "watch.json"


@dataclass(frozen=True, slots=True)
class GpuPool:
    """A GPU and the work pool that runs on it.

    Attributes:
        room: Bytes that others leave, whether or not we use them now.
    """

    gpu: int
    name: str
    id: UUID
    paused: bool
    room: int


def gpu_pools(client: SyncPrefectClient, survey: Survey) -> list[GpuPool]:
    """The GPUs of a survey that have a pool on this server."""
    found = []
    for gpu in survey.gpus:
        try:
            pool = client.read_work_pool(pool_of(gpu.index))
        except ObjectNotFound:
            continue  # not one of the GPUs that floor.toml names
        found.append(GpuPool(gpu.index, pool.name, pool.id, pool.is_paused, survey.room(gpu)))
    return found


def announce_headroom(pool: GpuPool, taken: Step, limits: Limits) -> None:
    """Emit the event about a pool's GPU; automations and notifications follow it."""
    assert taken.event is not None
    emit_event(
        event=taken.event,
        resource={
            "prefect.resource.id": f"prefect.work-pool.{pool.id}",
            "prefect.resource.name": pool.name,
            "pitboss.gpu": str(pool.gpu),
            AUTOMATIC: "yes" if taken.automatic else "no",
        },
        payload={
            "room_gb": round(pool.room / 1e9, 1),
            "low_gb": round(limits.low / 1e9, 1),
            "restored_gb": round(limits.restored / 1e9, 1),
        },
    )
    print(
        f"{taken.event}: others leave {gb(pool.room)} on GPU {pool.gpu} "
        f"(limits {gb(limits.low)} and {gb(limits.restored)})"
        + ("" if taken.automatic else f"; {pool.name} stays as a person left it")
    )


def why_no_automation(client: SyncPrefectClient, event: str) -> str:
    """Why nothing followed an event, as far as the server's automations say."""
    those = [
        automation
        for automation in client.read_automations()
        if event in getattr(automation.trigger, "expect", ())
    ]
    if not those:
        return "there is no automation for it; `make up` makes it."
    if not any(automation.enabled for automation in those):
        return "its automation is switched off; a person can switch it on in the UI."
    return "its automation is on, but has not acted; `make up` brings it up to date."


def read_standings(folder: Path) -> dict[str, Standing]:
    """Where each pool stood after the last look; empty before the first.

    Raises:
        BadInput: The file is damaged.
    """
    return read_value(
        folder / STANDINGS,
        dict[str, Standing],
        {},
        what="standings of the watch",
        next_step="Remove the file, and resume by hand the pools that it had paused.",
    )


def write_standings(folder: Path, standings: Mapping[str, Standing]) -> None:
    """Replace the file in one step."""
    replace_json(folder / STANDINGS, {name: str(value) for name, value in standings.items()})
