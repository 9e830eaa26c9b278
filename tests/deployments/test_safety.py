"""Secrets, permissions and limits of a house, without starting one."""

import os
from pathlib import Path

import pytest

from deployments.environment import PASSWORD, keep_secrets, secrets_file
from deployments.profiles import CSRF, FLOOR, LAPTOP, check_name, environments
from deployments.settings import House, process_env
from deployments.state import Up, write_state
from deployments.up import recorded, write_shell_settings
from pitboss.errors import BadInput


@pytest.fixture
def place(tmp_path: Path) -> House:
    made = House(tmp_path, tmp_path / "home", tmp_path / "results")
    made.prepare()
    return made


def test_secrets_are_made_once_for_the_owner_alone(place: House) -> None:
    first = keep_secrets(place)
    assert secrets_file(place).stat().st_mode & 0o777 == 0o600
    assert keep_secrets(place) == first
    assert first[PASSWORD].startswith("pitboss:") and len(first[PASSWORD]) > 30
    assert first[PASSWORD] == first["PREFECT_SERVER_API_AUTH_STRING"]
    other = House(place.root, place.root / "other", place.results)
    other.prepare()
    assert keep_secrets(other)[PASSWORD] != first[PASSWORD]


def test_secrets_that_others_can_read_are_refused(place: House) -> None:
    keep_secrets(place)
    secrets_file(place).chmod(0o640)
    with pytest.raises(BadInput, match=r"not private.*0640.*chmod 600"):
        keep_secrets(place)


def test_an_incomplete_file_is_refused_and_not_filled_up(place: House) -> None:
    path = secrets_file(place)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    with pytest.raises(BadInput, match="lacks PREFECT_API_AUTH_STRING"):
        keep_secrets(place)
    assert path.read_text() == ""


def test_runs_of_a_floor_carry_a_password_but_no_key_of_the_databases(place: House) -> None:
    shell = {"HF_TOKEN": "of the shell", "PREFECT_SERVER_ENCRYPTION_KEY": "x", "PATH": "/bin"}
    made = environments(FLOOR, place, 4321, shell)
    kept = keep_secrets(place)
    assert made.server[CSRF] == made.client[CSRF] == "true"
    assert made.client[PASSWORD] == kept[PASSWORD]
    for name in ("DATABASE_CONNECTION_URL", "API_AUTH_STRING", "ENCRYPTION_KEY"):
        assert f"PREFECT_SERVER_{name}" in made.server
        assert f"PREFECT_SERVER_{name}" not in made.client
    assert "127.0.0.1" in made.server["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert "HF_TOKEN" not in made.server and "HF_TOKEN" not in made.client
    with secrets_file(place).open("a") as file:
        file.write("HF_TOKEN=of the file\n")
    made = environments(FLOOR, place, 4321, shell)
    assert made.client["HF_TOKEN"] == "of the file" and "HF_TOKEN" not in made.server


def test_the_shell_settings_name_the_file_and_not_the_password(place: House) -> None:
    made = environments(FLOOR, place, 4321)
    write_shell_settings(place, made.client)
    text = (place.home / "env").read_text()
    assert keep_secrets(place)[PASSWORD] not in text and str(secrets_file(place)) in text
    read = os.popen(f". {place.home / 'env'}; printf %s ${PASSWORD}").read()
    assert read == keep_secrets(place)[PASSWORD]


def test_a_laptop_needs_no_secrets_and_both_keep_their_database_small(place: House) -> None:
    laptop = environments(LAPTOP, place, 4321, {"PATH": "/bin"})
    assert laptop.server == laptop.client == process_env(place, 4321, {"PATH": "/bin"})
    assert not secrets_file(place).exists() and PASSWORD not in laptop.server
    for env in (laptop.server, environments(FLOOR, place, 4321, {"PATH": "/bin"}).server):
        assert env["PREFECT_SERVER_EVENTS_RETENTION_PERIOD"] == "P3D"
        assert env["PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"] == "events,flow_runs"
        assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_prefect_understands_the_limits(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    from prefect.settings import Settings

    for name, value in environments(FLOOR, place, 4321, {"PATH": "/bin"}).server.items():
        monkeypatch.setenv(name, value)
    server = Settings().server
    assert server.events.retention_period == timedelta(days=3)
    assert server.services.db_vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert server.services.db_vacuum.retention_period == timedelta(days=30)
    assert server.events.messaging_broker == "prefect_redis.messaging"
    assert server.events.causal_ordering == "prefect_redis.ordering"
    assert server.concurrency.lease_storage == "prefect_redis.lease_storage"
    assert server.api.csrf_protection_enabled and not server.analytics_enabled


def test_folders_belong_to_their_owner_alone(tmp_path: Path) -> None:
    study = tmp_path / "results" / "plan"
    study.mkdir(parents=True)
    study.chmod(0o755)
    place = House(tmp_path, tmp_path / "home", tmp_path / "results")
    place.prepare()
    for folder in (place.home, place.prefect_home, place.storage, place.results, study):
        assert folder.stat().st_mode & 0o777 == 0o700, folder


def test_a_house_keeps_its_profile_until_it_is_down(place: House) -> None:
    assert recorded(place, FLOOR).profile == FLOOR
    write_state(place, Up(token="t", port=4321))
    with pytest.raises(BadInput, match=r"profile 'laptop', not 'floor'.*make down"):
        recorded(place, FLOOR)
    assert recorded(place, LAPTOP).token == "t"
    with pytest.raises(BadInput, match="no profile 'flor'"):
        check_name("flor")
