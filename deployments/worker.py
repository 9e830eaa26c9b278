"""`python -m deployments.worker --pool gpu-0`: one worker for one pool.

Server, workers and flow processes must be the same Prefect, so a worker first compares what is
installed with the lock file. Then it becomes `prefect worker start`.
"""

import argparse
import importlib.metadata
import os
import sys
from pathlib import Path

from deployments.settings import ROOT
from pitboss.errors import BadInput, PitbossError

LOCK = ROOT / "requirements.lock"


def locked_version(package: str, lock: Path = LOCK) -> str:
    """The version the lock file pins for a package.

    Raises:
        BadInput: The lock file has no such line.
    """
    for line in lock.read_text().splitlines():
        name, _, version = line.partition("==")
        if name.strip().lower() == package:
            return version.strip()
    raise BadInput(f"The lock file pins no {package}.", where=str(lock))


def assert_locked(package: str, installed: str, lock: Path = LOCK) -> None:
    """Refuse to work with another version than the locked one.

    Raises:
        BadInput: Another version is installed.
    """
    if (locked := locked_version(package, lock)) != installed:
        raise BadInput(
            f"{package} {installed} is installed, the lock file pins {locked}.",
            where=sys.prefix,
            next="Run `make install`, then start the worker again.",
        )


def command(pool: str) -> list[str]:
    return [
        str(Path(sys.executable).with_name("prefect")),
        "worker", "start", "--pool", pool, "--name", pool, "--type", "process",
        "--install-policy", "never", "--no-create-pool-if-not-found",
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Run one worker for one work pool.")
    parser.add_argument("--pool", required=True, help="The work pool to take runs from.")
    pool = parser.parse_args().pool
    try:
        assert_locked("prefect", importlib.metadata.version("prefect"))
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    started = command(pool)
    os.execv(started[0], started)


if __name__ == "__main__":
    sys.exit(main())
