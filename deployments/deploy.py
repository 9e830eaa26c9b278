"""Every deployment of prefect.yaml, put on the server; safe to repeat (see `deployments.setup`).

What `prefect deploy --all` would do, through the same client: that command stops at the first entry
that fails and says so only in its output, and it asks a new connection several times an entry.
"""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema

from deployments import prefect_yaml
from deployments.floor import Pool
from pitboss.errors import Incomplete


class Present(NamedTuple):
    """What somebody may have switched of a deployment: itself, and each schedule by its slug."""

    paused: bool
    active: dict[str, bool]


def deployed(client: SyncPrefectClient) -> dict[str, Present]:
    """Every deployment on the server, by its name `flow/name`."""
    flows = {flow.id: flow.name for flow in _all_flows(client)}
    found: dict[str, Present] = {}
    while page := client.read_deployments(limit=200, offset=len(found)):
        for entry in page:
            active = {each.slug: each.active for each in entry.schedules if each.slug}
            found[f"{flows[entry.flow_id]}/{entry.name}"] = Present(entry.paused, active)
    return found


def _all_flows(client: SyncPrefectClient) -> list[Any]:
    flows: list[Any] = []
    while page := client.read_flows(limit=200, offset=len(flows)):
        flows += page
    return flows


def keep_operators_choice(document: dict[str, Any], present: dict[str, Present]) -> dict[str, Any]:
    """A deployment and a schedule stay as somebody left them; `active` is a first state only."""
    for entry in document["deployments"]:
        (name,) = prefect_yaml.names({"deployments": [entry]})
        paused, active = present.get(name, Present(False, {}))
        entry["paused"] = paused
        for schedule in entry.get("schedules", []):
            schedule["active"] = active.get(schedule["slug"], schedule["active"])
    return document


def put(client: SyncPrefectClient, entry: dict[str, Any], pull: list[dict[str, Any]]) -> None:
    """Create a deployment, or bring the one of that name up to date."""
    flow = prefect_yaml.load_flow(entry["entrypoint"])
    client.create_deployment(
        client.create_flow(flow),
        name=entry["name"],
        entrypoint=entry["entrypoint"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry["parameters"],
        parameter_openapi_schema=parameter_schema(flow).model_dump(exclude_unset=True),
        enforce_parameter_schema=entry.get("enforce_parameter_schema", True),
        work_pool_name=entry["work_pool"]["name"],
        schedules=[_schedule(each) for each in entry.get("schedules", [])],
        paused=entry["paused"],
        pull_steps=pull,
    )


def _schedule(each: dict[str, Any]) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        slug=each["slug"],
        schedule=CronSchedule(cron=each["cron"], timezone=each["timezone"]),
        active=each["active"],
        parameters=each.get("parameters", {}),
    )


def deploy(client: SyncPrefectClient, floor: Sequence[Pool]) -> list[str]:
    """Deploy everything and make sure that it is there.

    Returns:
        The names `flow/deployment`, in alphabetical order.

    Raises:
        BadInput: prefect.yaml is wrong (see `prefect_yaml.check`); nothing was deployed.
        Incomplete: The server refused a deployment, or does not show it.
    """
    document = prefect_yaml.check(prefect_yaml.FILE, floor, os.environ)
    for entry in keep_operators_choice(document, deployed(client))["deployments"]:
        try:
            put(client, entry, document["pull"])
        except PrefectHTTPStatusError as error:
            (name,) = prefect_yaml.names({"deployments": [entry]})
            raise Incomplete(
                f"The server refused the deployment {name}: {error.response.text[:3000]}",
                where=prefect_yaml.FILE.name,
                next="Correct the cause and run `make up` again.",
            ) from error
    wanted = prefect_yaml.names(document)
    if missing := wanted - deployed(client).keys():
        raise Incomplete(
            f"The server does not show {', '.join(sorted(missing))}.", next="Run `make up` again."
        )
    return sorted(wanted)
