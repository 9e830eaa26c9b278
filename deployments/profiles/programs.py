"""The database programs of this machine, and how to get them."""

import os
import shutil
from pathlib import Path

from pitboss.errors import BadInput

# Debian keeps PostgreSQL's programs, several versions side by side, out of PATH.
POSTGRES_HOMES = Path("/usr/lib/postgresql")


def find(program: str, package: str, version: str | None = None) -> Path:
    """A program's path.

    Args:
        program: Such as `initdb`.
        package: The Debian package that has it.
        version: PostgreSQL's major version, where the data folder asks for one.

    Raises:
        BadInput: The program is not installed.
    """
    homes = POSTGRES_HOMES.glob(f"{version or '*'}/bin/{program}")
    found = sorted(homes, key=lambda path: float(path.parts[-3]), reverse=True)
    if found:
        return found[0]
    if version is None and (on_path := shutil.which(program)):
        return Path(on_path)
    raise BadInput(
        f"The floor profile needs {program}{f' of version {version}' if version else ''}, which "
        "this machine does not have.",
        next=f"Install it as root: apt-get install {package}. The service that comes with it is "
        "not used and may be switched off; the house runs one of its own.",
    )


def refuse_root() -> None:
    """PostgreSQL refuses to run as root, and whoever may use the API can run anything as its user.

    Raises:
        BadInput: This is root.
    """
    if os.geteuid() == 0:
        raise BadInput(
            "The floor profile does not run as root.",
            next="Start it as an ordinary user: one of its own, which owns the repository.",
        )
