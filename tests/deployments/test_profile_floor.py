"""The floor profile for real: PostgreSQL, Redis, passwords; nothing is touched that is not ours."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from deployments import up as up_module
from deployments.api import Api
from deployments.down import down
from deployments.environment import PASSWORD, POSTGRES_PASSWORD, REDIS_PORT, keep_secrets
from deployments.floor import this_floor
from deployments.processes import all_carrying, stop
from deployments.profiles import FLOOR, environments
from deployments.profiles.programs import find
from deployments.settings import HOST, ROOT, House, choose_port
from deployments.state import read_state
from pitboss.errors import BadInput

ROOT_USER = os.geteuid() == 0
# As root in a container, the test goes on as an ordinary user of a namespace of its own.
AS_USER = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]


def missing() -> str:
    """Why the profile cannot run here, or nothing."""
    for program, package in (("initdb", "postgresql"), ("redis-server", "redis-server")):
        try:
            find(program, package)
        except BadInput as error:
            return error.what + " " + package
    if ROOT_USER and (
        not shutil.which("unshare") or subprocess.run([*AS_USER, "true"], check=False).returncode
    ):
        return "root, and no way to become another user"
    return ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "all there")


@pytest.mark.skipif(not ROOT_USER, reason="this user can run the test below itself")
def test_as_an_ordinary_user() -> None:
    command = [sys.executable, "-m", "pytest", __file__]
    done = subprocess.run([*AS_USER, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Iterator[House]:
    made = House(ROOT, tmp_path / "a home", tmp_path / "its results")
    before = os.umask(0o077)  # as `make up` sets it
    yield made
    os.umask(before)
    if (state := read_state(made)) is not None:  # only when the test failed half-way
        stop(all_carrying(state.token), signal.SIGKILL, patience=5)


@pytest.mark.skipif(ROOT_USER, reason="PostgreSQL does not run as root")
def test_up_then_down(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PITBOSS_PORT", str(choose_port({})))
    floor = this_floor()[1:2]
    # Deploying every flow takes long and is tested with the other profile.
    monkeypatch.setattr(up_module, "SETUP", ("work pools", "automations"))
    first = up_module.up(place, floor, FLOOR)
    kept = keep_secrets(place)
    roles = {started.role for started in first.processes}
    assert {"database", "messages", "server", "worker"} <= roles

    address = f"http://{HOST}:{first.port}/api"
    assert httpx.get(f"{address}/admin/version").status_code == 401
    known = httpx.Client(base_url=address, auth=("pitboss", kept[PASSWORD].partition(":")[2]))
    assert known.get("/admin/version").is_success
    assert known.post("/flow_runs/filter", json={}).status_code == 403  # no CSRF token
    api = Api(first.port, environments(FLOOR, place, first.port).client)
    assert api.workers_online(floor[0].name) == 1 and api.waiting() == 0

    with pytest.raises(AuthenticationError):
        Redis(host=HOST, port=int(kept[REDIS_PORT])).ping()
    arguments = " ".join(
        word for process in all_carrying(first.token) for word in process.cmdline()
    )
    for secret in (kept[PASSWORD], kept[POSTGRES_PASSWORD], kept["PITBOSS_REDIS_PASSWORD"]):
        assert secret not in arguments and secret not in up_module.how_to_log_in(place, FLOOR)
        for log in place.logs.iterdir():
            assert secret not in log.read_text(errors="replace"), log
    private = [path for path in place.home.rglob("*") if path.stat().st_mode & 0o077]
    assert not private, private[:5]

    running = {started.pid for started in first.processes}
    up_module.start_databases(place, first)  # what runs is left alone
    assert {started.pid for started in first.processes} == running

    said = " ".join(down(place))
    assert "the server" in said and "the databases" in said
    assert all_carrying(first.token) == []
    assert not [
        p
        for p in psutil.process_iter(["cmdline"])
        if str(place.home) in " ".join(p.info["cmdline"] or [])
    ]
    log = (place.logs / "postgres.log").read_text()
    assert "database system is shut down" in log and "immediate shutdown" not in log
