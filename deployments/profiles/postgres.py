"""The house's own PostgreSQL: its data in the house's folder, a port on the loopback interface.

A PostgreSQL of the system is not touched. There is no socket file and no login without a password.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from deployments.environment import POSTGRES_PASSWORD, POSTGRES_PORT, USER
from deployments.profiles.programs import find
from deployments.settings import HOST, House
from pitboss.errors import Incomplete

DATABASE = "prefect"
PACKAGE = "postgresql"


def url(secrets: Mapping[str, str]) -> str:
    port, password = secrets[POSTGRES_PORT], secrets[POSTGRES_PASSWORD]
    return f"postgresql+asyncpg://{USER}:{password}@{HOST}:{port}/{DATABASE}"


def data_folder(place: House) -> Path:
    return place.home / "postgres"


def prepare(place: House, secrets: Mapping[str, str]) -> list[str]:
    """Make the data folder if there is none.

    Returns:
        The command that runs the database in the foreground.

    Raises:
        BadInput: PostgreSQL, or the version that made the data, is not installed.
        Incomplete: The data folder could not be made.
    """
    data = data_folder(place)
    if not data.exists():
        _make(data, secrets[POSTGRES_PASSWORD])
    version = (data / "PG_VERSION").read_text().strip()
    return [
        str(find("postgres", f"{PACKAGE}-{version}", version)),
        "-D", str(data),
        "-p", secrets[POSTGRES_PORT],
        "-c", f"listen_addresses={HOST}",
        "-c", "unix_socket_directories=",
    ]  # fmt: skip


def _make(data: Path, password: str) -> None:
    """`initdb` beside the place where the folder belongs, so that half a folder is never used."""
    program = find("initdb", PACKAGE)
    new, secret = data.with_suffix(".new"), data.with_suffix(".password")
    shutil.rmtree(new, ignore_errors=True)
    secret.touch(mode=0o600)
    secret.write_text(password)
    command = [
        str(program), "-D", str(new), "-U", USER, "--pwfile", str(secret),
        "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--data-checksums",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    finally:
        secret.unlink()
    if done.returncode:
        raise Incomplete(
            f"PostgreSQL's data folder could not be made.\n{done.stdout}{done.stderr}",
            where=str(new),
            next="Correct the cause shown above and run `make up` again.",
        )
    new.rename(data)


def answers(secrets: Mapping[str, str]) -> bool:
    """Whether the database lets us in; makes Prefect's database in it if there is none."""
    return asyncio.run(_answers(secrets))


async def _answers(secrets: Mapping[str, str]) -> bool:
    try:
        connection = await asyncpg.connect(
            host=HOST,
            port=int(secrets[POSTGRES_PORT]),
            user=USER,
            password=secrets[POSTGRES_PASSWORD],
            database="postgres",
            timeout=5,
        )
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError):
        return False  # still starting
    try:
        if not await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
            await connection.execute(f"create database {DATABASE}")
    finally:
        await connection.close()
    return True
