"""Starting the two databases of the floor profile, before the server that needs them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deployments.environment import POSTGRES_PORT, REDIS_PORT, secrets_file
from deployments.processes import Role, tail, wait_until
from deployments.profiles import postgres, redis
from deployments.profiles.programs import refuse_root
from deployments.settings import House, port_is_free
from deployments.state import Up
from pitboss.errors import BadInput, Incomplete

PATIENCE = 60.0
Launch = Callable[[Role, str, list[str], dict[str, str]], None]


@dataclass(frozen=True)
class Service:
    """One database: how it is prepared, where it listens, how to see that it works."""

    role: Role
    name: str
    port: str
    prepare: Callable[[House, Mapping[str, str]], list[str]]
    answers: Callable[[Mapping[str, str]], bool]


SERVICES = (
    Service("database", "postgres", POSTGRES_PORT, postgres.prepare, postgres.answers),
    Service("messages", "redis", REDIS_PORT, redis.prepare, redis.answers),
)


def start_services(place: House, state: Up, secrets: Mapping[str, str], launch: Launch) -> None:
    """Start what does not run and wait until both let us in.

    Args:
        launch: Starts a process of a role, a name, a command and an environment, and records it.

    Raises:
        BadInput: This is root, a program is not installed, or a port is taken.
        Incomplete: One of them did not start; the message has the end of its log.
    """
    refuse_root()
    commands = {service.name: service.prepare(place, secrets) for service in SERVICES}
    for service in SERVICES:
        if not state.alive(service.role, service.name):
            _check_port(place, service, secrets)
            launch(service.role, service.name, commands[service.name], plain_environment())
    for service in SERVICES:
        _wait(place, state, service, secrets)


def plain_environment() -> dict[str, str]:
    """Databases need none of the house's secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _check_port(place: House, service: Service, secrets: Mapping[str, str]) -> None:
    if not port_is_free(int(secrets[service.port])):
        raise BadInput(
            f"Port {secrets[service.port]}, where {service.name} is to listen, is taken by another "
            "program.",
            where=f"{service.port} in {secrets_file(place)}",
            next="Stop that program, or write another port there.",
        )


def _wait(place: House, state: Up, service: Service, secrets: Mapping[str, str]) -> None:
    log = place.logs / f"{service.name}.log"

    def settled() -> bool:
        return service.answers(secrets) or not state.alive(service.role, service.name)

    if not wait_until(settled, seconds=PATIENCE) or not state.alive(service.role, service.name):
        raise Incomplete(
            f"{service.name} did not start.\n{tail(log)}",
            where=str(log),
            next="Run `make down`, correct the cause shown above, then run `make up` again.",
        )
