"""The systemd units: right in systemd's own eyes, and with the signals that keep runs alive."""

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deployments import units
from deployments.environment import keep_secrets
from deployments.profiles.programs import find
from deployments.settings import ROOT, House
from pitboss.errors import BadInput

UNIT_FILES = {
    "pitboss-postgres.service",
    "pitboss-redis.service",
    "pitboss-server.service",
    "pitboss-deploy.service",
    "pitboss-worker@.service",
    "pitboss-reconcile.service",
    "pitboss.target",
}


def made_house(folder: Path) -> House:
    return House(ROOT, folder / "a home", folder / "its results")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Units of a house in a temporary folder; its databases' own folders are not made."""
    place = made_house(tmp_path)
    monkeypatch.setattr(units, "refuse_root", lambda: None)
    monkeypatch.setattr(units.postgres_here, "prepare", lambda *_: ["/bin/sleep", "1"])
    monkeypatch.setattr(units.redis_here, "prepare", lambda *_: ["/bin/sleep", "2"])
    monkeypatch.setenv("PITBOSS_PORT", "4999")
    monkeypatch.setenv("HF_TOKEN", "of the shell")
    assert {path.name for path in units.write(place, tmp_path / "units")} == UNIT_FILES
    return tmp_path


def service(written: Path, name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(written / "units" / name)
    return parser["Service"]


def test_workers_are_replaced_without_their_runs(written: Path) -> None:
    worker = service(written, "pitboss-worker@.service")
    assert (worker["KillMode"], worker["KillSignal"]) == ("process", "SIGKILL")
    assert worker["Restart"] == "always"
    assert worker["ExecStart"].endswith("-m deployments.worker --pool %i")
    assert service(written, "pitboss-postgres.service")["KillSignal"] == "SIGINT"
    for name in UNIT_FILES - {"pitboss.target"}:
        assert service(written, name)["UMask"] == "0077"
    target = (written / "units" / "pitboss.target").read_text()
    assert "Wants=pitboss-worker@control.service" in target


def test_secrets_are_in_private_files_and_not_in_units(written: Path) -> None:
    kept = keep_secrets(made_house(written))
    password, key = kept["PREFECT_API_AUTH_STRING"], kept["PREFECT_SERVER_ENCRYPTION_KEY"]
    for path in (written / "units").iterdir():
        assert password not in path.read_text() and key not in path.read_text()
    server, client = (
        made_house(written).home / "systemd" / name for name in ("server.env", "client.env")
    )
    assert (server.stat().st_mode & 0o777, client.stat().st_mode & 0o777) == (0o600, 0o600)
    assert key in server.read_text() and password in client.read_text()
    assert key not in client.read_text() and "DATABASE_CONNECTION_URL" not in client.read_text()
    assert "of the shell" not in server.read_text() + client.read_text()
    named = service(written, "pitboss-server.service")["EnvironmentFile"]
    assert Path(named) == server


def test_units_written_again_keep_the_port(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PITBOSS_PORT", "5001")
    units.write(made_house(written), written / "units")
    server = service(written, "pitboss-server.service")
    assert server["ExecStart"].endswith("-m deployments.server")
    assert 'PREFECT_SERVER_API_PORT="4999"' in Path(server["EnvironmentFile"]).read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_them(written: Path) -> None:
    files = [written / "units" / name for name in sorted(UNIT_FILES)]
    env = os.environ | {"XDG_RUNTIME_DIR": str(written)}
    command = ["systemd-analyze", "--user", "verify", *map(str, files)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    wrong = written / "units" / "pitboss-server.service"
    wrong.write_text(wrong.read_text().replace("Restart=always", "Restart=alwys"))
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert "alwys" in done.stderr


def test_a_value_of_two_lines_is_refused() -> None:
    assert units.environment_text({"HF_HOME": 'a "b" \\', "OTHER": "x"}) == (
        'HF_HOME="a \\"b\\" \\\\"\n'
    )
    with pytest.raises(BadInput, match="more than one line"):
        units.environment_text({"HF_HOME": "a\nb"})


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(BadInput, match=r"needs redis-sever.*apt-get install redis-server"):
        find("redis-sever", "redis-server")
