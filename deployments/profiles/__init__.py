"""What kind of house it is: `laptop` (SQLite) or `floor` (PostgreSQL, Redis, passwords)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from deployments.environment import PASSWORD, TOKENS, keep_secrets
from deployments.profiles import postgres, redis
from deployments.settings import HOST, House, process_env
from pitboss.errors import BadInput

LAPTOP, FLOOR = "laptop", "floor"
NAMES = (LAPTOP, FLOOR)


@dataclass(frozen=True)
class Environments:
    """Two sets of variables, so that runs do not carry the keys of the databases.

    Attributes:
        server: For the server: databases, encryption key, passwords.
        client: For workers, flow runs and every Prefect command.
    """

    server: dict[str, str]
    client: dict[str, str]


def check_name(profile: str) -> str:
    """
    Raises:
        BadInput: There is no such profile.
    """
    if profile not in NAMES:
        raise BadInput(
            f"There is no profile {profile!r}.",
            next=f"Use one of {', '.join(NAMES)}: make up PROFILE={FLOOR}",
        )
    return profile


def environments(
    profile: str, place: House, port: int, environ: Mapping[str, str] = os.environ
) -> Environments:
    """The variables of the house's processes; on a floor, secrets are made if there are none yet.

    Raises:
        BadInput: The secrets file is not private or not complete.
    """
    if profile == LAPTOP:
        env = process_env(place, port, environ)
        return Environments(env, env)
    secrets = keep_secrets(place)
    outside = {name: value for name, value in environ.items() if name not in TOKENS}
    client = process_env(place, port, outside) | {PASSWORD: secrets[PASSWORD]}
    for name in SERVER_ONLY:
        client.pop(name, None)
    tokens = {name: secrets[name] for name in TOKENS if secrets.get(name)}
    return Environments(client | server_settings(port, secrets), client | CLIENT | tokens)


# The server refuses requests that change anything without a token of its own, and clients know.
CSRF = "PREFECT_SERVER_CSRF_PROTECTION_ENABLED"
CLIENT = {CSRF: "true"}
SERVER_ONLY = (
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_SERVER_ENCRYPTION_KEY",
)


def server_settings(port: int, secrets: Mapping[str, str]) -> dict[str, str]:
    """What makes a Prefect server the floor's: its databases, its passwords, its limits."""
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url(secrets),
        "PREFECT_REDIS_MESSAGING_URL": redis.url(secrets),
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_API_AUTH_STRING": secrets["PREFECT_SERVER_API_AUTH_STRING"],
        "PREFECT_SERVER_ENCRYPTION_KEY": secrets["PREFECT_SERVER_ENCRYPTION_KEY"],
        CSRF: "true",
        # Pages of other sites must not talk to the API through a person's browser.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port},http://localhost:{port}",
    }
