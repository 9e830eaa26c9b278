"""How much of a GPU's memory we may use while others use it too: decisions, without a clock.

Whether a job may start is `admit`. While it runs, a `Guard` is shown the free memory again and
again and says how many rows may be in flight; it gives way quickly and comes back slowly.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pitboss.errors import BadInput
from pitboss.formats import gb

Action = Literal["continue", "shrink", "park", "grow", "return"]

# A change of fewer slots than that is not worth beginning the rows in flight again.
_SHRINK_TO, _GROW_BY = 0.75, 1.25
# Coming back for less than an eighth of the slots would hold all the weights for little work.
_LEAST_RETURN = 8
# A growth that had to be taken back within that many holds was a mistake: wait twice as long.
_REGRET = 10


@dataclass(frozen=True)
class Footprint:
    """Bytes that a job holds beyond those of one that is parked (the CUDA context).

    Attributes:
        base: With no rows in flight: weights, and what a step needs whatever its rows.
        slot: More for each slot.
    """

    base: int
    slot: int

    def bytes(self, slots: int) -> int:
        """Bytes with so many slots; 0 slots: parked."""
        return self.base + slots * self.slot if slots else 0

    def most(self, bytes: int) -> int:
        """The most slots that hold at most so many bytes."""
        if bytes < self.bytes(1):
            return 0
        return (bytes - self.base) // max(self.slot, 1)


@dataclass(frozen=True)
class Thresholds:
    """When the guard acts.

    Attributes:
        reserve: Free bytes that are always left to others. Below this, rows are given up.
        margin: Bytes that must be free besides, after growing or returning.
        patience_s: How long the free memory must be below the reserve before anything is given
            up; below half of the reserve, it is given up at once.
        hold_s: How long there must have been room before growing or returning.
        longest_hold_s: The most it becomes: it doubles each time room was taken too early.
    """

    reserve: int
    margin: int
    patience_s: float = 2.0
    hold_s: float = 60.0
    longest_hold_s: float = 1800.0

    def __post_init__(self) -> None:
        if min(self.reserve, self.margin, self.patience_s) < 0 or not (
            0 < self.hold_s <= self.longest_hold_s
        ):
            raise BadInput(
                f"these thresholds cannot be: {self}",
                where="memory guard",
                next="give a reserve and a margin of 0 or more bytes and a positive hold.",
            )


class Ask(NamedTuple):
    """What the guard wants: an action, the slots after it, and why."""

    action: Action
    slots: int
    why: str


def admit(footprint: int, free: int, reserve: int, cap: int | None = None) -> None:
    """Let a job start if it fits beside the others.

    Args:
        footprint: Bytes that it will hold at its smallest, CUDA context included.
        free: Bytes of the GPU that are free.
        reserve: Bytes that must stay free.
        cap: The most bytes that we may hold, or None.

    Raises:
        BadInput: It does not fit; says by how much.
    """
    if cap is not None and footprint > cap:
        raise BadInput(
            f"the job holds {gb(footprint)}, {gb(cap)} are allowed to it on this GPU",
            next="raise engine.memory_gb, or make the job smaller (engine.width).",
        )
    if footprint > free - reserve:
        raise BadInput(
            f"the job holds {gb(footprint)}; of the GPU {gb(free)} are free and {gb(reserve)} "
            f"stay with the others: {gb(footprint - free + reserve)} are missing",
            next="use another GPU, wait until its tenants need less, or make the job smaller.",
        )


class Guard:
    """Decides from the free memory how many of a job's slots may be in use.

    Deterministic: it knows the time by what it is told.

    Attributes:
        slots: What it allows now.
        has: What the job has, as far as the guard knows.
    """

    def __init__(self, thresholds: Thresholds, cap: int, footprint: Footprint) -> None:
        if cap < 1:
            raise BadInput(f"a job of {cap} slots cannot be guarded")
        self.at, self.cap, self.footprint = thresholds, cap, footprint
        self.slots = self.has = cap
        self.hold_s = thresholds.hold_s
        self.changing = False  # the job is doing what it was told: what is free says nothing
        self._told: int | None = None
        self._low_since: float | None = None
        self._grown: float | None = None
        self._room: deque[tuple[float, int]] = deque()

    def answer(self, has: int) -> int:
        """The slots that the job may have now, told that it has so many."""
        if self._told is not None and self._told != has:  # it found no memory for what it was told
            if has < self._told:
                self._regret()
            self.slots = min(self.slots, has)
        if has != self.has or self.changing:
            self._forget()
        self.has, self._told, self.changing = has, None, False
        if self.slots != has:
            self._told, self.changing = self.slots, True
        return self.slots

    def look(self, now: float, free: int) -> Ask:
        """Judge the free memory, in bytes, at a time in seconds."""
        if self.changing:
            return Ask("continue", self.slots, "the job is being changed")
        # What will be free once the job has the slots that it is allowed.
        free += self.footprint.bytes(self.has) - self.footprint.bytes(self.slots)
        if free < self.at.reserve:
            return self._short(now, free)
        self._low_since = None
        return self._enough(now, free)

    def _short(self, now: float, free: int) -> Ask:
        self._room.clear()
        why = f"{gb(free)} are free, {gb(self.at.reserve)} belong to others"
        if self._low_since is None:
            self._low_since = now
        waited = now - self._low_since
        if not self.slots or (waited < self.at.patience_s and 2 * free >= self.at.reserve):
            return Ask("continue", self.slots, why)
        missing = self.at.reserve - free
        slots = self.footprint.most(self.footprint.bytes(self.slots) - missing)
        self.slots = min(slots, int(self.slots * _SHRINK_TO))
        if self._grown is not None and now - self._grown < _REGRET * self.hold_s:
            self._regret()
        elif self._grown is not None:
            self.hold_s = self.at.hold_s
        self._forget()
        return Ask("shrink" if self.slots else "park", self.slots, why)

    def _enough(self, now: float, free: int) -> Ask:
        self._room.append((now, free))
        while len(self._room) > 1 and self._room[1][0] <= now - self.hold_s:
            self._room.popleft()
        if self.slots == self.cap or now - self._room[0][0] < self.hold_s:
            return Ask("continue", self.slots, f"{gb(free)} are free")
        spare = min(room for _, room in self._room) - self.at.reserve - self.at.margin
        slots = min(self.cap, self.footprint.most(self.footprint.bytes(self.slots) + spare))
        why = f"{gb(spare)} more than needed have been free for {self.hold_s:.0f} s"
        least = max(1, self.cap // _LEAST_RETURN, int(self.slots * _GROW_BY), self.slots + 1)
        if slots < min(self.cap, least):
            return Ask("continue", self.slots, f"{gb(free)} are free")
        action: Action = "grow" if self.slots else "return"
        self.slots, self._grown = slots, now
        self._forget()
        return Ask(action, slots, why)

    def _regret(self) -> None:
        self.hold_s = min(2 * self.hold_s, self.at.longest_hold_s)
        self._grown = None

    def _forget(self) -> None:
        self._room.clear()
        self._low_since = None
