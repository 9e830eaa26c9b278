"""`python -m deployments.demo`: the whole plan at small scale, from one command.

Starts the house, triggers the campaign as a person would (`prefect deployment run`), follows it
to its end and says where the results are. The exit code is 0 only if the campaign completed.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx

from deployments.api import Api
from deployments.floor import this_floor
from deployments.settings import HOST, House, house, process_env
from deployments.up import up
from pitboss.errors import Incomplete, PitbossError

STUDY = "studies/demo.yaml"
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# A server that stays away longer than this while we watch is taken as gone.
PATIENCE = 120.0


def trigger(place: House, port: int, deployment: str, parameters: dict[str, str]) -> str:
    """`prefect deployment run`: create a flow run and return its id.

    Raises:
        Incomplete: The command failed, for instance because a parameter is refused.
    """
    command = [str(Path(sys.executable).with_name("prefect")), "deployment", "run", deployment]
    for name, value in parameters.items():
        command += ["--param", f"{name}={value}"]
    print("$ prefect " + " ".join(command[1:]), flush=True)
    env = process_env(place, port)
    done = subprocess.run(command, env=env, cwd=place.root, capture_output=True, text=True)
    found = UUID.search(done.stdout)
    if done.returncode or not found:
        raise Incomplete(f"The run could not be created.\n{done.stdout}{done.stderr}")
    return found[0]


def follow(api: Api, run_id: str) -> dict[str, object]:
    """Print each change of the run and of the runs it started, until it ends.

    Returns:
        The ended run.

    Raises:
        Incomplete: The server stayed away.
    """
    shown: dict[str, str] = {}
    began = heard = time.monotonic()
    while True:
        try:
            run, parts = api.flow_run(run_id), api.children(run_id)
            heard = time.monotonic()
        except httpx.HTTPError as error:
            if time.monotonic() - heard > PATIENCE:
                raise Incomplete(f"The server is gone: {error}") from error
            time.sleep(2)
            continue
        for each in (run, *parts):
            if shown.get(each["id"]) != each["state_name"]:
                shown[each["id"]] = each["state_name"]
                seconds = time.monotonic() - began
                print(f"  {seconds:6.0f} s  {each['state_name']:<11} {each['name']}", flush=True)
        if run["state_type"] in FINAL:
            return run
        time.sleep(2)


def main() -> int:
    os.umask(0o077)
    place = house()
    began = time.monotonic()
    print(f"Starting the house in {place.home}", flush=True)
    try:
        port = up(place, this_floor()).port
        run_id = trigger(place, port, "campaign/campaign", {"study": STUDY})
        address = f"http://{HOST}:{port}/runs/flow-run/{run_id}"
        print(f"Watch it at {address}", flush=True)
        run = follow(Api(port), run_id)
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe campaign goes on without you. Stop it with: make down", file=sys.stderr)
        return 130
    if run["state_type"] != "COMPLETED":
        message = run["state"].get("message") if isinstance(run["state"], dict) else ""
        print(f"\nThe campaign ended as {run['state_name']}: {message}", file=sys.stderr)
        print(f"Its logs: {address}", file=sys.stderr)
        return 1
    print(
        f"\nThe campaign completed; {time.monotonic() - began:.0f} s with the start of the house.\n"
        f"  results  {place.results / Path(STUDY).stem}\n"
        f"  report   {place.results / Path(STUDY).stem / 'report.html'}\n"
        f"  summary  {place.results / Path(STUDY).stem / 'summary.json'}\n"
        f"  UI       {address}\n"
        "Stop everything with: make down"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
