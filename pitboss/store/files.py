"""Writing files so that a kill or a power cut at any moment leaves the old file or the new one.

1. The bytes go to a name of their own in the store's `tmp` folder and are synced.
2. The file is renamed to its place: readers see nothing or all of it.
3. The folder is synced, so that the rename itself survives.

A writer holds a lock on its temporary file for as long as it lives, so whoever cleans up can tell
a file in use from one that a dead process left behind, without knowing process ids or clocks.
"""

import errno
import fcntl
import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pitboss.errors import PitbossError

log = logging.getLogger("pitboss.store")

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SUFFIX = ".tmp"


def ensure_folder(folder: Path) -> None:
    """Makes the folder and its missing parents, readable by the owner alone, and syncs them."""
    if folder.is_dir():
        return
    ensure_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in the folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def temporary(folder: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Opens a locked temporary file in the folder; removes it unless it was renamed away.

    Raises:
        PitbossError: The disk is full; nothing is left behind.
    """
    path, file = _open_locked(folder)
    try:
        yield path, file
    except OSError as error:
        if error.errno in FULL:
            raise PitbossError(
                f"The disk took no more bytes ({os.strerror(error.errno)}); nothing was committed.",
                where=str(folder),
                next="Free disk space and run again; finished parts are kept.",
            ) from error
        raise
    finally:
        path.unlink(missing_ok=True)
        _close(file)


def publish(path: Path, file: IO[bytes], target: Path) -> None:
    """Syncs the temporary file and renames it to its place, durably.

    Everything that can run out of space (bytes, folder entries) comes before the rename.
    """
    file.flush()
    os.fsync(file.fileno())
    ensure_folder(target.parent)
    os.rename(path, target)
    sync_folder(target.parent)


def write_atomic(tmp: Path, target: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces the target's bytes in one step, through a temporary file in `tmp`."""
    with temporary(tmp) as (path, file):
        os.fchmod(file.fileno(), mode)
        file.write(data)
        publish(path, file, target)


def replace_bytes(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replaces a file outside the studies in one step, through one beside it.

    Args:
        mode: Permissions of the file; its folder, if it is missing, is made for the owner alone.

    Raises:
        PitbossError: The disk is full; the old file is still there.
    """
    ensure_folder(path.parent)
    write_atomic(path.parent, path, data, mode)


def clean(tmp: Path) -> int:
    """Removes temporary files whose writer is dead, and returns how many there were."""
    removed = 0
    for path in sorted(tmp.glob("*" + SUFFIX)):
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            removed += 1
        except BlockingIOError:
            log.debug("%s is being written by a living process", path.name)
        finally:
            os.close(fd)
    if removed:
        log.warning("Removed %d temporary files of interrupted writers from %s.", removed, tmp)
    return removed


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file exclusively; the system releases it if the process dies."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        # Unlocked by name: a forked child that still holds a copy of fd would keep the lock.
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_locked(folder: Path) -> tuple[Path, IO[bytes]]:
    """A cleaner may remove the file between its creation and its locking; then try another name."""
    while True:
        path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if path.exists():
            return path, os.fdopen(fd, "wb")
        os.close(fd)


def _close(file: IO[bytes]) -> None:
    """Closes without a second error: bytes still buffered belong to a file already given up."""
    try:
        file.close()
    except OSError as error:
        log.debug("A temporary file could not be flushed at closing: %s", error)
