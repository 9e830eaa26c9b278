"""The order of a campaign's parts: what may start, what has ended, and who may still join.

Nothing here talks to a server: `Floor` says what can be asked of one.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from prefect import State
from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_run_logger

from flows.parts import Part
from tasks.worker import LEFT

EVERY_SECONDS = 2.0
# A part whose process dies is started again so often; what it had finished is not repeated.
MAX_RESTARTS = 3


class Floor(Protocol):
    """What a campaign asks of the server."""

    def start(self, part: Part, number: int) -> FlowRun:
        """Create the part's run; `number` counts from 1 how often this campaign did so."""

    def look(self, run: UUID) -> FlowRun:
        """The run as it is now."""

    def paused(self, pool: str) -> bool:
        """Whether somebody paused the work pool."""

    def withdraw(self, run: UUID) -> None:
        """Cancel a run that has not begun and is not needed any more."""


@dataclass(frozen=True)
class Failure:
    """A part that did not complete, and why."""

    part: Part
    state: str
    message: str

    def __str__(self) -> str:
        return f"{self.part.name} on {self.part.pool}: {self.state}, {self.message}"


class Order:
    """Starts parts when their needs are complete, and knows how all of them ended.

    Elastic parts of one experiment share their work: it is finished when one of them completes,
    since a run ends only when nothing is left. So one that leaves or dies fails nothing as long as
    another goes on, and one whose pool was paused joins again when it is resumed.
    """

    def __init__(self, parts: Sequence[Part], floor: Floor) -> None:
        self._floor, self._log = floor, get_run_logger()
        self._waiting, self._running = list(parts), dict[UUID, Part]()
        self._complete: set[str] = set()
        self._finished: set[str] = set()  # experiments whose elastic parts have done all work
        self._failures: list[Failure] = []
        self._starts: Counter[str] = Counter()
        self._dead: set[UUID] = set()
        self._told: set[str] = set()

    def run(self, every: float, tell: Callable[[], None]) -> list[Failure]:
        """Return the failures once nothing runs any more and nothing can start."""
        while True:
            self._start_what_may()
            tell()
            paused = [part for part in self._waiting if part.name in self._told]
            if not self._running and not paused:
                never = [Failure(p, "not started", _lacking(p)) for p in self._waiting]
                return self._lasting() + never
            time.sleep(every)
            for run_id, part in list(self._running.items()):
                state = self._floor.look(run_id).state
                if state is not None and self._over(run_id, part, state):
                    del self._running[run_id]
                    self._dead.discard(run_id)
                    self._ended(part, state)

    def _start_what_may(self) -> None:
        never = _never(self._waiting, {failure.part.name for failure in self._lasting()})
        to_end = {part.name for part in (*self._waiting, *self._running.values())} - never
        for part in list(self._waiting):
            if part.elastic and part.experiment in self._finished:
                self._waiting.remove(part)
                self._told.discard(part.name)
                self._complete.add(part.name)
            elif self._may_start(part, to_end) and not self._must_wait(part):
                self._waiting.remove(part)
                self._starts[part.name] += 1
                run = self._floor.start(part, self._starts[part.name])
                self._running[run.id] = part
                self._log.info("Started %s on %s", part.name, part.pool)

    def _may_start(self, part: Part, to_end: set[str]) -> bool:
        return self._complete.issuperset(part.needs) and to_end.isdisjoint(part.after)

    def _must_wait(self, part: Part) -> bool:
        """Whether the part's pool is paused, while other workers may do its work."""
        if not part.elastic or not self._floor.paused(part.pool):
            self._told.discard(part.name)
            return False
        if part.name not in self._told:
            self._told.add(part.name)
            self._log.info("%s joins when the work pool %s is resumed", part.name, part.pool)
        return True

    def _over(self, run_id: UUID, part: Part, state: State[Any]) -> bool:
        """Whether the run has ended. A crash must be seen twice: it may be about to be resumed."""
        if state.is_crashed() and run_id not in self._dead:
            self._dead.add(run_id)
            return False
        if not state.is_crashed():
            self._dead.discard(run_id)
        if part.elastic and part.experiment in self._finished and state.is_scheduled():
            self._floor.withdraw(run_id)
        return state.is_final()

    def _ended(self, part: Part, state: State[Any]) -> None:
        if state.is_completed():
            self._complete.add(part.name)
            if part.elastic:
                self._finished.add(part.experiment)
            self._log.info("Completed %s", part.name)
        elif part.elastic and part.experiment in self._finished:
            self._complete.add(part.name)
            self._log.info("%s is not needed any more: %s", part.name, state.name)
        elif part.elastic and state.name == LEFT:
            self._waiting.append(part)
            self._log.warning("%s left: %s", part.name, state.message)
        elif state.is_crashed() and self._starts[part.name] <= MAX_RESTARTS:
            self._waiting.append(part)
            self._log.warning("%s died and is started again: %s", part.name, state.message)
        else:
            failure = Failure(part, state.name or state.type.value, state.message or "")
            self._failures.append(failure)
            self._log.error("%s", failure)

    def _lasting(self) -> list[Failure]:
        """Failures that no other worker made good or may still make good."""
        at_work = {
            part.experiment for part in (*self._waiting, *self._running.values()) if part.elastic
        }
        return [
            failure
            for failure in self._failures
            if not (failure.part.elastic and failure.part.experiment in self._finished | at_work)
        ]


def run_in_order(
    parts: Sequence[Part],
    floor: Floor,
    *,
    every: float = EVERY_SECONDS,
    tell: Callable[[], None] = lambda: None,
) -> list[Failure]:
    """Start parts when their needs are complete; return the failures once nothing runs any more.

    When a part fails, everything that does not need it still runs. `tell` is called between looks.
    """
    return Order(parts, floor).run(every, tell)


def _never(waiting: Sequence[Part], failed: set[str]) -> set[str]:
    """Names of waiting parts that cannot start any more, because what they need failed."""
    lost = set(failed)
    for _ in waiting:
        lost |= {part.name for part in waiting if lost.intersection(part.needs)}
    return lost


def _lacking(part: Part) -> str:
    return f"because it needs {', '.join(part.needs)}."
