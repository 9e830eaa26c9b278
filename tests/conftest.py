"""A real Prefect server for the tests that need one; all other tests never import Prefect."""

import gc
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.api import Api
from deployments.processes import TOKEN, all_carrying, stop
from deployments.settings import HOST, ROOT, House, process_env
from deployments.state import Up
from deployments.up import start_server

DATABASE = "prefect.db"


def pytest_configure(config: pytest.Config) -> None:
    """Keep this session away from the user's own Prefect profile and server."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    assert config.cache is not None
    os.environ["PREFECT_HOME"] = str(config.cache.mkdir("prefect-home"))
    os.environ["DO_NOT_TRACK"] = "1"
    # The lab's tensors are so small that a second thread only makes the first one wait.
    os.environ["OMP_NUM_THREADS"] = "1"
    # At exit the log sender would wait a minute for the server that has just been stopped.
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"


def pytest_collection_finish() -> None:
    """What is imported by now stays: collecting garbage need not look through it each time."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Server:
    """A running server with its own folders; its workers, if any, are the test's business."""

    place: House
    state: Up
    env: dict[str, str]

    @property
    def api(self) -> Api:
        return Api(self.state.port)


@pytest.fixture(scope="session")
def migrated_database(request: pytest.FixtureRequest) -> Path:
    """An empty database with Prefect's tables, kept between sessions: making it takes 10 s."""
    import prefect

    folder = request.config.cache.mkdir("prefect-database")  # type: ignore[union-attr]
    kept = Path(folder) / f"{prefect.__version__}.db"
    if not kept.exists():
        home = Path(folder) / f"new-{os.getpid()}"
        place = House(ROOT, home, home / "results")
        place.prepare()
        command = [str(Path(sys.executable).with_name("prefect")), "server", "database"]
        env = process_env(place, 4200)
        subprocess.run([*command, "upgrade", "-y"], env=env, check=True, capture_output=True)
        (place.prefect_home / DATABASE).replace(kept)
        shutil.rmtree(home)
    return kept


def make_house(folder: Path, database: Path) -> House:
    """An empty house in a temporary folder, with the tables of its database already made.

    People's folders have spaces in their names, so these have.
    """
    place = House(ROOT, folder / "a home", folder / "its results")
    place.prepare()
    shutil.copy(database, place.prefect_home / DATABASE)
    return place


def port_of_its_own() -> int:
    """A port that two test sessions on one machine do not both find free while servers start."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> Iterator[Server]:
    """One server for the whole session, on a free port."""
    place = make_house(tmp_path_factory.mktemp("server"), migrated_database)
    state = Up(token=secrets.token_hex(16), port=port_of_its_own())
    env = process_env(place, state.port) | {TOKEN: state.token}
    try:
        start_server(place, state, env, Api(state.port))
        yield Server(place, state, env)
    finally:
        stop(all_carrying(state.token), signal.SIGTERM, patience=10)


@pytest.fixture
def prefect_api(server: Server, tmp_path: Path) -> Iterator[Server]:
    """This process talks to the session's server; cached results are this test's own."""
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_LOCAL_STORAGE_PATH,
        PREFECT_RESULTS_DEFAULT_SERIALIZER,
        temporary_settings,
    )

    with temporary_settings(
        updates={
            PREFECT_API_URL: server.env["PREFECT_API_URL"],
            PREFECT_LOCAL_STORAGE_PATH: str(tmp_path / "cache"),
            PREFECT_RESULTS_DEFAULT_SERIALIZER: "json",
        }
    ):
        yield server
