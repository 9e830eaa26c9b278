"""Units of work shared by any number of workers: whoever is free claims the next one.

A claim is a file lock of the unit's name, held while the unit is computed. The store says what is
finished, the lock what is being worked on, and nothing else is recorded anywhere. So workers may
join and leave at any time, and the claim of a dead process is free at once.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from pitboss.floor.locks.kernel_lock import KernelLock

if TYPE_CHECKING:  # claims need of it no more than its path, and no library for tables
    from pitboss.store import Store

log = logging.getLogger("pitboss.floor")

FOLDER = "claims"
EVERY_SECONDS = 2.0
Stop = Callable[[], str]


class Work(Protocol):
    """A unit of work: it has a key, and the store knows whether it is finished."""

    @property
    def key(self) -> str: ...

    def ref(self, store: "Store") -> object | None: ...


U = TypeVar("U", bound=Work)
S = TypeVar("S")


def in_turn(units: Sequence[S], worker: int, workers: int) -> list[S]:
    """All units in the order in which one of several workers takes them.

    Each worker begins with a share of its own, so that two rarely ask for the same unit. Then it
    helps the others, from the end, which their owners reach last.
    """
    own = list(units[worker::workers])
    others = [unit for i, unit in enumerate(units) if i % workers != worker]
    return own + others[::-1]


class Claim(Generic[U]):
    """The right to compute one unit; given back at the end of a `with`, or of the process.

    Attributes:
        unit: The unit, unfinished when it was claimed.
    """

    def __init__(self, unit: U, lock: KernelLock) -> None:
        self.unit, self._lock = unit, lock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Queue(Generic[U]):
    """The unfinished units of a study, for one of any number of workers.

    Args:
        store: The study's store; claims lie in its folder.
        units: The units in the order in which this worker wants them.
        run: The flow run's id, for people who read a claim.
        stop: Says why this worker should stop, or nothing; asked before every unit and while
            waiting.
        every: Seconds between two looks at units that others work on.
    """

    def __init__(
        self,
        store: "Store",
        units: Sequence[U],
        *,
        run: str = "",
        stop: Stop = lambda: "",
        every: float = EVERY_SECONDS,
    ) -> None:
        self._store, self._run, self._stop, self._every = store, run, stop, every
        self._left = list(units)
        self._given_up: list[U] = []
        self.stopped = ""

    @property
    def left(self) -> list[U]:
        """Units that were unfinished when this worker last looked, those given up included."""
        return [*self._left, *self._given_up]

    @property
    def given_up(self) -> list[U]:
        """Units that this worker leaves to others and that are still unfinished."""
        self._given_up = [unit for unit in self._given_up if unit.ref(self._store) is None]
        return self._given_up

    def give_up(self, unit: U) -> None:
        """Leave a unit to other workers: it cannot be computed here."""
        self._left = [other for other in self._left if other.key != unit.key]
        self._given_up.append(unit)

    def take(self) -> Claim[U] | None:
        """Claim the next unit, waiting for those that others work on.

        A unit that another worker has claimed is either finished there or, if that worker dies,
        free again; so this returns None only when all units are finished (or given up here), or
        when this worker should stop. `stopped` then says why.
        """
        while True:
            self.stopped = self._stop()
            if self.stopped:
                return None
            for unit in list(self._left):
                claim = self._claim(unit)
                if claim is not None:
                    return claim
            if not self._left:
                return None
            time.sleep(self._every)

    def _claim(self, unit: U) -> Claim[U] | None:
        if unit.ref(self._store) is not None:
            self._left.remove(unit)
            return None
        lock = KernelLock(claim_path(self._store, unit.key), remove=True)
        if not lock.try_acquire(self._run):
            return None
        if unit.ref(self._store) is not None:  # finished between the look and the lock
            lock.release()
            self._left.remove(unit)
            return None
        return Claim(unit, lock)


def claim_path(store: "Store", key: str) -> Path:
    """The file whose lock is the claim on a unit."""
    return store.path / FOLDER / f"{key}.lock"
