"""`python -m deployments.deploy`: put every deployment of prefect.yaml on the server.

Runs in the environment `up` gives it (see `settings.process_env`), after the pools exist.
`prefect deploy --all` stops at the first entry that fails and says so only in its output, so the
names on the server are compared with those in the file afterwards.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import PrefectClient, get_client

from deployments import prefect_yaml
from deployments.floor import Pool, this_floor
from deployments.settings import ROOT, House, house
from pitboss.errors import Incomplete, PitbossError


async def deployed(client: PrefectClient) -> dict[str, dict[str, bool]]:
    """Every deployment on the server: `flow/name` -> schedule slug -> active."""
    flows = {flow.id: flow.name for flow in await _all_flows(client)}
    found: dict[str, dict[str, bool]] = {}
    while page := await client.read_deployments(limit=200, offset=len(found)):
        for entry in page:
            found[f"{flows[entry.flow_id]}/{entry.name}"] = {
                schedule.slug: schedule.active for schedule in entry.schedules if schedule.slug
            }
    return found


async def _all_flows(client: PrefectClient) -> list[Any]:
    flows: list[Any] = []
    while page := await client.read_flows(limit=200, offset=len(flows)):
        flows += page
    return flows


def keep_operators_choice(
    document: dict[str, Any], present: dict[str, dict[str, bool]]
) -> dict[str, Any]:
    """A schedule stays on or off as somebody left it; `active` is its first state only."""
    for entry in document["deployments"]:
        (name,) = prefect_yaml.names({"deployments": [entry]})
        current = present.get(name, {})
        for schedule in entry.get("schedules", []):
            schedule["active"] = current.get(schedule["slug"], schedule["active"])
    return document


def write_out(place: House, document: dict[str, Any]) -> Path:
    """The file `deploy --all` reads: one plain entry for each deployment."""
    path = place.home / "prefect.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return path


async def deploy(place: House, floor: Sequence[Pool]) -> list[str]:
    """Deploy everything and make sure that it is there.

    Returns:
        The names `flow/deployment`, in alphabetical order.

    Raises:
        BadInput: prefect.yaml is wrong (see `prefect_yaml.check`); nothing was deployed.
        Incomplete: A deployment of the file is not on the server.
    """
    document = prefect_yaml.check(prefect_yaml.FILE, floor, os.environ)
    async with get_client() as client:
        document = keep_operators_choice(document, await deployed(client))
        path = write_out(place, document)
        command = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", "--all"]
        done = subprocess.run(
            [*command, "--prefect-file", str(path)], cwd=ROOT, capture_output=True, text=True
        )
        wanted = prefect_yaml.names(document)
        missing = wanted - set(await deployed(client))
    if done.returncode or missing:
        raise Incomplete(
            f"`prefect deploy --all` left out {', '.join(sorted(missing)) or 'nothing'} and ended "
            f"with exit code {done.returncode}.\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}",
            where=str(path),
            next="Correct the cause shown above and run `make up` again.",
        )
    return sorted(wanted)


def main() -> int:
    try:
        done = asyncio.run(deploy(house(), this_floor()))
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
