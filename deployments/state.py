"""The record of what `make up` started, in `.pitboss/up.json`."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.processes import Started
from deployments.settings import House
from pitboss.errors import BadInput
from pitboss.store.files import replace_bytes


class Up(BaseModel):
    """One running house."""

    model_config = ConfigDict(extra="forbid")

    token: str
    port: int
    profile: str = "laptop"
    processes: list[Started] = []

    def alive(self, role: str, name: str) -> bool:
        return any(
            started.role == role and started.name == name and started.process(self.token)
            for started in self.processes
        )

    def serves(self) -> bool:
        """Whether our server has the port: another one may have been faster and answer there."""
        return any(
            started.role == "server" and started.listens(self.token, self.port)
            for started in self.processes
        )


def read_state(place: House) -> Up | None:
    """What is recorded as started, or None.

    Raises:
        BadInput: The record cannot be read.
    """
    try:
        return Up.model_validate_json(place.state_file.read_text())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise BadInput(
            f"The record of started processes cannot be read: {error}",
            where=str(place.state_file),
            next="Stop the processes by hand (`ps aux | grep -e prefect -e deployments`), "
            "then remove the file.",
        ) from error


def write_state(place: House, state: Up) -> None:
    """Replace the record in one step, so that a crash leaves the old or the new one."""
    replace_bytes(place.state_file, state.model_dump_json(indent=2).encode())


@contextmanager
def only_one(place: House) -> Iterator[None]:
    """Hold the house for one `up` or `down` at a time; the lock ends with the process.

    Raises:
        BadInput: Another `up` or `down` is at work.
    """
    with (place.home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                "Another `make up` or `make down` is at work on this house.",
                where=str(place.home),
                next="Wait until it is done and try again.",
            ) from None
        yield
