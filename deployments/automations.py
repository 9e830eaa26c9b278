"""The server's own reactions, as code (see `deployments.setup`).

A name is an automation's identity: what is missing is created, what differs is brought up to date.
One that an operator switched off stays off.
"""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import PauseWorkPool, ResumeWorkPool
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from pitboss.floor.memory.headroom import AUTOMATIC, LOW, RESTORED

COMPARED = {"description", "tags", "trigger", "actions"}


def wanted() -> list[AutomationCore]:
    """Pause a GPU's pool when others need the memory, and open it when there is room again.

    The pool is the event's own resource, so one automation serves all pools. Only events that the
    watch marks are acted on: the others concern pools that a person decided about.
    """
    return [
        AutomationCore(
            name="pitboss: pause a pool whose GPU is short of memory",
            description="Other processes took the room; runs under way go on, no other starts.",
            tags=["pitboss"],
            trigger=_on(LOW),
            actions=[PauseWorkPool(source="inferred")],
        ),
        AutomationCore(
            name="pitboss: open a pool again whose GPU has room",
            description="Opens what the other automation paused, never what a person paused.",
            tags=["pitboss"],
            trigger=_on(RESTORED),
            actions=[ResumeWorkPool(source="inferred")],
        ),
    ]


def _on(event: str) -> EventTrigger:
    return EventTrigger(
        expect={event},
        match={"prefect.resource.id": "prefect.work-pool.*", AUTOMATIC: "yes"},
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
    )


def ensure_automations(client: SyncPrefectClient) -> dict[str, str]:
    """Create what is missing and update what differs.

    Returns:
        For each name what was done: "created", "updated" or "unchanged".
    """
    done = {}
    for automation in wanted():
        present = client.read_automations_by_name(automation.name)
        if not present:
            client.create_automation(automation)
            done[automation.name] = "created"
            continue
        found = present[0]
        if _shape(found) == _shape(automation):
            done[automation.name] = "unchanged"
            continue
        update_automation(client, found.id, automation, enabled=found.enabled)
        done[automation.name] = "updated"
    return done


def update_automation(
    client: SyncPrefectClient, id: UUID, automation: AutomationCore, *, enabled: bool
) -> None:
    """Replace an automation on the server.

    Prefect's client sends only the fields that somebody set, no defaults. Without its `type` the
    server takes the pause of a pool for the start of a deployment, and without `enabled` it leaves
    the automation on or off as it was. So here every field is set.
    """
    every = automation.model_dump(mode="json", exclude={"owner_resource"})
    client.update_automation(id, AutomationCore.model_validate(every | {"enabled": enabled}))


def _shape(automation: AutomationCore) -> dict[str, Any]:
    """What makes two automations the same, whatever ids the server gave their parts."""
    return _without_ids(automation.model_dump(mode="json", include=COMPARED))


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_ids(item) for name, item in value.items() if name != "id"}
    if isinstance(value, list):
        return [_without_ids(item) for item in value]
    return value
