"""The house's own Redis, for its server's events and leases; none of the system is touched."""

import os
from collections.abc import Mapping
from pathlib import Path

from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as NotConnected

from deployments.environment import REDIS_PASSWORD, REDIS_PORT
from deployments.profiles.programs import find
from deployments.settings import HOST, House

PACKAGE = "redis-server"
# Far more than the server's events of a day; reaching it is an error in the log, not a full memory.
MEMORY = "512mb"


def url(secrets: Mapping[str, str]) -> str:
    return f"redis://:{secrets[REDIS_PASSWORD]}@{HOST}:{secrets[REDIS_PORT]}/0"


def config_file(place: House) -> Path:
    return place.home / "redis.conf"


def prepare(place: House, secrets: Mapping[str, str]) -> list[str]:
    """Write the configuration.

    Returns:
        The command that runs Redis in the foreground.

    Raises:
        BadInput: Redis is not installed.
    """
    program = find("redis-server", PACKAGE)
    data = place.home / "redis"
    data.mkdir(mode=0o700, exist_ok=True)
    path = config_file(place)
    # The password stands in the file and not among the arguments, which every user can read.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(
            f"bind {HOST}\n"
            f"port {secrets[REDIS_PORT]}\n"
            f"requirepass {secrets[REDIS_PASSWORD]}\n"
            f'dir "{data}"\n'
            "appendonly yes\n"
            f"maxmemory {MEMORY}\n"
            "maxmemory-policy noeviction\n"
            # A new title would overwrite the environment, by which `make down` knows its processes.
            "set-proc-title no\n"
        )
    return [str(program), str(path)]


def answers(secrets: Mapping[str, str]) -> bool:
    client = Redis(host=HOST, port=int(secrets[REDIS_PORT]), password=secrets[REDIS_PASSWORD])
    try:
        return bool(client.ping())
    except (NotConnected, BusyLoadingError):
        return False  # still starting
    finally:
        client.close()
