"""`up` and `down` with real processes: what is started is stopped, and nothing else."""

import secrets
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments import up as up_module
from deployments.api import Api
from deployments.down import down
from deployments.floor import this_floor
from deployments.processes import TOKEN, all_carrying, is_flow_run, stop, wait_until
from deployments.settings import House, choose_port, process_env
from deployments.state import Up, only_one, read_state
from pitboss.errors import BadInput, Incomplete
from tests.conftest import DATABASE, make_house

CREATE_RUN = """
import sys
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_entrypoint
from deployments.settings import ROOT

flow = load_flow_from_entrypoint("tests/deployments/sleeper.py:sleeper")
pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
with get_client(sync_client=True) as client:
    made = client.create_deployment(
        flow_id=client.create_flow(flow),
        name="test",
        work_pool_name=sys.argv[1],
        entrypoint="tests/deployments/sleeper.py:sleeper",
        pull_steps=pull,
    )
    print(client.create_flow_run_from_deployment(made).id)
"""


@pytest.fixture
def place(tmp_path: Path, migrated_database: Path) -> Iterator[House]:
    made = make_house(tmp_path, migrated_database)
    yield made
    if (state := read_state(made)) is not None:  # only when the test failed half-way
        stop(all_carrying(state.token), signal.SIGKILL, patience=5)


@pytest.fixture
def stranger() -> Iterator[psutil.Process]:
    """Somebody else's process that looks like one of ours but for its token."""
    command = [sys.executable, "-c", "import time; time.sleep(600)", "prefect worker start"]
    process = subprocess.Popen(command, env={TOKEN: "another"})
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def test_up_twice_then_down(
    place: House, server: Any, stranger: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PITBOSS_PORT", str(choose_port({})))
    floor = this_floor()[:2]
    pool = floor[1].name
    first = up_module.up(place, floor)
    api = Api(first.port)
    assert api.healthy()
    assert api.workers_online(pool) == api.workers_online("control") == 1
    assert (place.home.stat().st_mode & 0o777, place.storage.stat().st_mode & 0o777) == (
        0o700,
        0o700,
    )

    again = up_module.up(place, floor)
    assert {s.pid for s in again.processes} == {s.pid for s in first.processes}
    assert (again.port, again.token) == (first.port, first.token)

    assert first.alive("reconciler", "reconciler")

    run_id = start_sleeper(place, first, pool)
    assert wait_until(lambda: api.flow_run(run_id)["state_type"] == "RUNNING", seconds=60)
    assert [p for p in all_carrying(first.token) if is_flow_run(p)]

    up_module.let_go(place, again, api, floor[:1])
    assert api.workers_online(pool) == 0 and not again.alive("worker", pool)
    assert api.workers_online("control") == 1
    assert api.flow_run(run_id)["state_type"] == "RUNNING"

    said = " ".join(down(place))
    assert (
        "1 workers" in said
        and "the reconciler" in said
        and "flow runs" in said
        and "the server" in said
    )
    assert all_carrying(first.token) == []
    assert stranger.is_running() and server.api.healthy()
    assert down(place) == []

    # The run had time to tell the server that it ended; nothing says "Running" for ever.
    assert last_state(place, run_id) == "CRASHED"


def test_another_server_that_was_faster_at_the_port_is_not_taken_for_ours(
    place: House, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up_module, "port_is_free", lambda port: True)  # it was, a moment ago
    state = Up(token=secrets.token_hex(16), port=server.state.port)
    env = process_env(place, state.port) | {TOKEN: state.token}
    assert Api(state.port).healthy()
    with pytest.raises(Incomplete, match=r"does not answer(.|\n)*Address already in use"):
        up_module.start_server(place, state, env, Api(state.port))
    assert not state.serves() and server.state.serves()


def last_state(place: House, run_id: str) -> str:
    """What the server that is down now had last stored of a run."""
    with closing(sqlite3.connect(place.prefect_home / DATABASE)) as database:
        [(state,)] = database.execute("SELECT state_type FROM flow_run WHERE id = ?", [run_id])
    return str(state)


def start_sleeper(place: House, state: Up, pool: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CREATE_RUN, pool],
        env=process_env(place, state.port),
        cwd=place.root,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[-1]


def test_up_and_down_do_not_meet(place: House) -> None:
    with only_one(place), pytest.raises(BadInput, match="is at work"):
        down(place)


def test_an_unreadable_record_is_named(place: House) -> None:
    place.state_file.write_text("{")
    with pytest.raises(BadInput, match=r"up\.json"):
        read_state(place)
    place.state_file.unlink()
