"""The house's secrets: a file that only its owner can read, made once, outside the database.

The format is systemd's EnvironmentFile, so the units of `deployments.units` read the same file.
"""

import os
import secrets
import stat
from pathlib import Path

from cryptography.fernet import Fernet

from deployments.settings import HOST, House, port_is_free
from pitboss.errors import BadInput
from pitboss.store.files import replace_bytes

NAME = "secrets.env"
USER = "pitboss"
POSTGRES_PORTS = range(5433, 5533)
REDIS_PORTS = range(6380, 6480)

PASSWORD = "PREFECT_API_AUTH_STRING"
POSTGRES_PASSWORD, POSTGRES_PORT = "PITBOSS_POSTGRES_PASSWORD", "PITBOSS_POSTGRES_PORT"
REDIS_PASSWORD, REDIS_PORT = "PITBOSS_REDIS_PASSWORD", "PITBOSS_REDIS_PORT"
# Who may talk to Hugging Face is said in the file, not in the shell that starts the house.
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
NEEDED = (
    PASSWORD,
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_ENCRYPTION_KEY",
    POSTGRES_PASSWORD,
    POSTGRES_PORT,
    REDIS_PASSWORD,
    REDIS_PORT,
)


def secrets_file(place: House) -> Path:
    return place.home / NAME


def keep_secrets(place: House) -> dict[str, str]:
    """The house's secrets; the first call makes them.

    Raises:
        BadInput: The file can be read by others, belongs to another user, or lacks an entry.
    """
    path = secrets_file(place)
    if not path.exists():
        replace_bytes(path, _new().encode())
    return read_secrets(path)


def read_secrets(path: Path) -> dict[str, str]:
    """Read a secrets file that is private and complete.

    Raises:
        BadInput: The file can be read by others, belongs to another user, or lacks an entry.
    """
    said = path.stat()
    if said.st_uid != os.geteuid() or stat.S_IMODE(said.st_mode) & 0o077:
        raise BadInput(
            "The file of secrets is not private.",
            where=f"{path}, mode {stat.S_IMODE(said.st_mode):04o}, owner {said.st_uid}",
            next="If nobody else can have read it: chmod 600, and make it yours. Otherwise replace "
            "its passwords first.",
        )
    lines = [line.strip() for line in path.read_text().splitlines()]
    values = {
        name.strip(): value.strip()
        for name, equals, value in (line.partition("=") for line in lines)
        if equals and not name.startswith("#")
    }
    if missing := [name for name in NEEDED if not values.get(name)]:
        raise BadInput(
            f"The file of secrets lacks {', '.join(missing)}.",
            where=str(path),
            next="Restore it from a backup. The databases know only the passwords that were in it.",
        )
    return values


def _new() -> str:
    # The server and its clients compare the same string, `user:password`.
    password = f"{USER}:{secrets.token_urlsafe(24)}"
    return f"""\
# Secrets of this house, made once by `make up PROFILE=floor`. Keep it at mode 0600.
# The UI asks for the text behind the first equals sign, user and password with the colon.
{PASSWORD}={password}
PREFECT_SERVER_API_AUTH_STRING={password}
# Encrypts Prefect's secret blocks. Without it they cannot be read again.
PREFECT_SERVER_ENCRYPTION_KEY={Fernet.generate_key().decode()}
{POSTGRES_PASSWORD}={secrets.token_urlsafe(24)}
{POSTGRES_PORT}={_free(POSTGRES_PORTS)}
{REDIS_PASSWORD}={secrets.token_urlsafe(24)}
{REDIS_PORT}={_free(REDIS_PORTS)}
# For models behind a licence. Workers and runs get it from here only.
# HF_TOKEN=
"""


def _free(ports: range) -> int:
    for port in ports:
        if port_is_free(port):
            return port
    raise BadInput(f"No free port from {ports[0]} to {ports[-1]} on {HOST}.")
