"""Liveness is a file lock (flock(2)) that a process holds: the kernel releases it at its end.

A database can say "Running" of a process that is long dead, and process numbers are used again;
neither is asked. What is written inside the file (process, run, since when) is for people, and
believed only while the lock is held.
"""

import fcntl
import json
import os
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pitboss.errors import PitbossError

# A look at who holds a lock takes it for an instant, so whoever acquires tries for a little longer.
PATIENCE = 1.0
EVERY_SECONDS = 0.05
MAX_FACTS = 4096


class Busy(PitbossError):
    """A living process holds the lock."""


@dataclass(frozen=True)
class Holder:
    """What the holder of a lock wrote about itself.

    Attributes:
        pid: Its process number; 0 if nothing readable is written.
        run: Its flow run's id, or whatever it goes by.
        since: When it took the lock, UTC in ISO 8601. For people: no decision depends on a clock.
    """

    pid: int = 0
    run: str = ""
    since: str = ""

    def __str__(self) -> str:
        run = f", run {self.run}" if self.run else ""
        return f"process {self.pid or '(unknown)'}{run}, since {self.since or '(unknown)'}"


class KernelLock:
    """An exclusive lock on a file. A forked child gives up its copy, so it cannot keep it alive.

    Args:
        path: The lock's file; made with its folder when first taken.
        remove: Remove the file when the lock is released (a dead holder's file stays).
    """

    def __init__(self, path: Path, *, remove: bool = False) -> None:
        self.path, self._remove = path, remove
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def try_acquire(self, run: str = "") -> bool:
        """Take the lock if it is free, at once; True if it is ours."""
        if self._fd is not None:
            return True
        _make_folder(self.path.parent)
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            if _is_at(fd, self.path):
                break
            os.close(fd)  # removed or replaced since it was opened: nobody looks at this one
        self._fd = fd
        _HELD.add(self)
        holder = Holder(os.getpid(), run, datetime.now(UTC).isoformat(timespec="seconds"))
        os.ftruncate(fd, 0)
        os.pwrite(fd, (json.dumps(asdict(holder)) + "\n").encode(), 0)
        return True

    def acquire(self, run: str = "", patience: float = PATIENCE) -> None:
        """Take the lock within `patience` seconds.

        Raises:
            Busy: Somebody else holds it; the message says who.
        """
        deadline = time.monotonic() + patience
        while not self.try_acquire(run):
            if time.monotonic() >= deadline:
                holder = self.holder() or "a process that has just ended"
                raise Busy(
                    f"{self.path.stem} is held by {holder}.",
                    where=str(self.path),
                    next="Wait for that process or stop it; the lock ends with it, in any case.",
                )
            time.sleep(EVERY_SECONDS)

    def holder(self) -> Holder | None:
        """Who holds the lock now, in this or any process of this machine; None if it is free."""
        try:
            fd = os.open(self.path, os.O_RDONLY)  # whoever looks may not be allowed to write
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # closing releases what was taken for the look
        except BlockingIOError:
            return _read(fd)
        finally:
            os.close(fd)

    def stolen(self) -> bool:
        """Whether the file of a lock we hold was removed or replaced: others may hold another."""
        return self._fd is not None and not _is_at(self._fd, self.path)

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        _HELD.discard(self)
        try:
            if self._remove and _is_at(fd, self.path):
                self.path.unlink(missing_ok=True)  # before unlocking: see try_acquire
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def __enter__(self) -> Self:
        if not self.held:
            self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _close_in_child(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def lock_path(state: Path, name: str) -> Path:
    """Where a lock of this machine lies: `<state>/locks/<host>-<name>.lock`.

    Args:
        name: A worker's is that of its work pool: one flow run at a time, whatever a database says.
    """
    return state / "locks" / f"{socket.gethostname()}-{name}.lock"


def _make_folder(folder: Path) -> None:
    """The folder and its missing parents, readable by the owner alone."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


_HELD: "weakref.WeakSet[KernelLock]" = weakref.WeakSet()


def _give_up_copies() -> None:
    for lock in list(_HELD):
        lock._close_in_child()
    _HELD.clear()


os.register_at_fork(after_in_child=_give_up_copies)


def _is_at(fd: int, path: Path) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _read(fd: int) -> Holder:
    """What is written inside; an unreadable note is an unknown holder, not a free lock."""
    with suppress(ValueError, TypeError):
        return Holder(**json.loads(os.pread(fd, MAX_FACTS, 0)))
    return Holder()
