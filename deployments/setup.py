"""`python -m deployments.setup`: what the server must know: work pools, deployments, automations.

Runs in the environment `up` gives it (see `settings.process_env`). It is one process, so that
Prefect and the flows are imported once, and `up` starts it beside the server: the flows are
imported by the time the server answers.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from prefect.client.orchestration import SyncPrefectClient, get_client

from deployments import prefect_yaml
from deployments.api import Api
from deployments.automations import ensure_automations
from deployments.deploy import deploy
from deployments.floor import Pool, this_floor
from deployments.pools import ensure_pools
from deployments.processes import wait_until
from deployments.setup_process import WHEN_TOLD
from pitboss.errors import Incomplete, PitbossError

Step = Callable[[SyncPrefectClient, Sequence[Pool]], str]
PATIENCE = 180.0


def pools(client: SyncPrefectClient, floor: Sequence[Pool]) -> str:
    return ", ".join(f"{name} {what}" for name, what in ensure_pools(client, floor).items())


def deployments(client: SyncPrefectClient, floor: Sequence[Pool]) -> str:
    return ", ".join(deploy(client, floor))


def automations(client: SyncPrefectClient, floor: Sequence[Pool]) -> str:
    done = ensure_automations(client)
    return ", ".join(f"{name.removeprefix('pitboss: ')}: {what}" for name, what in done.items())


STEPS: dict[str, Step] = {
    "work pools": pools,
    "deployments": deployments,
    "automations": automations,
}


def wait_for_server() -> None:
    """
    Raises:
        Incomplete: It does not answer in time.
    """
    api = Api(int(os.environ["PREFECT_SERVER_API_PORT"]))
    if not wait_until(api.healthy, seconds=PATIENCE, every=0.1):
        raise Incomplete("The server does not answer.", where=os.environ["PREFECT_API_URL"])


def main() -> int:
    """Carry out the steps; what was done is a line as soon as a step is finished."""
    parser = argparse.ArgumentParser(description="Tell the server what it must know.")
    parser.add_argument("steps", nargs="*", help=f"Of {', '.join(STEPS)} (default: all).")
    parser.add_argument(WHEN_TOLD, action="store_true", help="Begin at a line on stdin.")
    asked = parser.parse_args()
    if unknown := set(asked.steps) - set(STEPS):
        parser.error(f"there is no step {', '.join(sorted(unknown))}; known: {', '.join(STEPS)}")
    try:
        floor, names = this_floor(), asked.steps or list(STEPS)
        if "deployments" in names:
            document = prefect_yaml.check(prefect_yaml.FILE, floor, os.environ)
            prefect_yaml.check_flows(document)
        if asked.when_told:
            sys.stdin.readline()
        wait_for_server()
        with get_client(sync_client=True) as client:
            for name in names:
                print(f"{name}\t{STEPS[name](client, floor)}", flush=True)
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
