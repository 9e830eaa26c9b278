"""`python -m tests.deployments.floor_campaign`: two whole campaigns on a floor of its own, by hand.

PostgreSQL, Redis, passwords, real workers. Each campaign is asked for, answered and started through
the gate. In the second one a worker's pool is paused in the middle of patching and resumed later.
Every Parquet file of both must be the same, byte for byte. It takes some ten minutes on two cores.
As root, it goes on as an ordinary user of a namespace of its own.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from deployments import approve as gate
from deployments.down import down
from deployments.floor import this_floor
from deployments.processes import all_carrying, stop
from deployments.profiles import FLOOR, environments
from deployments.settings import ROOT, House
from deployments.state import read_state
from deployments.up import up
from tests.deployments.test_profile_floor import AS_USER

HERE = "tests/deployments"
STUDY = f"{HERE}/paused.yaml"
PARAMETERS = {
    "study": STUDY,
    "survey": f"{HERE}/two_gpus.yaml",
    "figures": f"{HERE}/two_figures.yaml",
}
POOL = "gpu-1"
PATIENCE = 3600.0
_began = time.monotonic()


def show(text: str) -> None:
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


def wait(what: str, holds: Callable[[], Any]) -> Any:
    """What `holds` gives as soon as it gives anything."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, f"waited too long until {what}"
        time.sleep(0.5)
    show(what)
    return found


class Campaigns:
    """What a person does on this floor, through the API."""

    def __init__(self, client: Any, place: House) -> None:
        self.client, self.study = client, place.results / Path(STUDY).stem

    def approve(self) -> UUID:
        """Ask for a campaign and answer; the id of the campaign's run."""
        deployment = self.client.read_deployment_by_name("approve/approve")
        run = self.client.create_flow_run_from_deployment(deployment.id, parameters=PARAMETERS)
        wait("the gate asks", lambda: self.is_now(run.id, "Suspended"))
        assert gate.main(["answer", str(run.id), "--option", "D", "--by", "Kim"]) == 0
        wait("a worker went on with the gate", lambda: self.is_now(run.id, "Completed"))
        return wait("the campaign is there", self._campaign)  # type: ignore[no-any-return]

    def _campaign(self) -> UUID | None:
        """The campaign that is not over; it has its own name only once it runs."""
        flow = self.client.read_flow_by_name("campaign").id
        runs = [run for run in self.client.read_flow_runs() if run.flow_id == flow]
        alive = [run.id for run in runs if not run.state.is_final()]
        return alive[0] if alive else None

    def is_now(self, run: UUID, name: str) -> bool:
        state = self.client.read_flow_run(run).state
        assert not (state.is_failed() or state.is_crashed()), state
        return bool(state.name == name)

    def parts(self, campaign: UUID) -> list[Any]:
        """Runs of patching on the pool that is paused, oldest first."""
        flow = self.client.read_flow_by_name("patching").id
        since = self.client.read_flow_run(campaign).created
        runs = [r for r in self.client.read_flow_runs() if r.flow_id == flow and r.created > since]
        mine = [run for run in runs if run.work_pool_name == POOL]
        return sorted(mine, key=lambda run: run.created)

    def chunks(self) -> int:
        return len(list((self.study / "records" / "trials").rglob("*.json")))

    def end(self, campaign: UUID) -> None:
        wait("the campaign ends", lambda: self.ended(campaign))
        state = self.client.read_flow_run(campaign).state
        assert state.is_completed(), state

    def ended(self, campaign: UUID) -> bool:
        return bool(self.client.read_flow_run(campaign).state.is_final())

    def pause(self, paused: bool) -> None:
        from prefect.client.schemas.actions import WorkPoolUpdate

        self.client.update_work_pool(POOL, WorkPoolUpdate(is_paused=paused))
        show(f"{POOL} is {'paused' if paused else 'resumed'} after {self.chunks()} chunks")

    def files(self) -> dict[str, bytes]:
        found = sorted(self.study.rglob("*.parquet"))
        return {str(path.relative_to(self.study)): path.read_bytes() for path in found}


def campaigns(place: House) -> int:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        here = Campaigns(client, place)
        here.end(here.approve())
        calm = here.files()
        shutil.move(here.study, place.results / "undisturbed")

        second = here.approve()
        wait("two chunks are done and the worker is at work", lambda: here.chunks() >= 3 and [
            run for run in here.parts(second) if run.state.is_running()
        ])  # fmt: skip
        here.pause(True)
        wait("its run has left", lambda: [r for r in here.parts(second) if r.state_name == "Left"])
        left = here.chunks()
        wait("the other worker goes on alone", lambda: here.chunks() > left)
        assert not here.ended(second)
        here.pause(False)
        wait("the worker has joined again", lambda: [
            run for run in here.parts(second)[1:] if run.state.is_running()
        ])  # fmt: skip
        here.end(second)
        again = here.files()
    different = sorted(n for n in calm.keys() | again.keys() if calm.get(n) != again.get(n))
    show(f"{len(calm)} Parquet files; different: {different or 'none'}")
    return 1 if different or not calm else 0


def main() -> int:
    if os.geteuid() == 0:
        return subprocess.call([*AS_USER, sys.executable, "-m", __spec__.name])
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as folder:
        place = House(ROOT, Path(folder) / "home", Path(folder) / "results")
        try:
            state = up(place, this_floor(), FLOOR)
            show("the floor is up")
            os.environ.update(environments(FLOOR, place, state.port).client)
            return campaigns(place)
        finally:
            if (left := read_state(place)) is not None:
                print(*down(place), sep="\n")
                stop(all_carrying(left.token), signal.SIGKILL, patience=5)


if __name__ == "__main__":
    sys.exit(main())
