"""Which row sits in which slot, and where its prompt lies. Touches no tensors."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pitboss.engine.row import Row


@dataclass(slots=True)
class Seat:
    """A row in flight: its slot, the place of its prompt's prefix, and its tokens so far."""

    row: Row
    slot: int
    place: int
    tokens: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Admission:
    """Rows that sit down now, and the prompts (place → tokens) that must be prefilled first."""

    seats: list[Seat]
    prefill: dict[int, tuple[int, ...]]


class Scheduler:
    """First come, first seated; a freed slot is refilled at once.

    Args:
        slots: Rows in flight at most.
        prefixes: Places for prompts that rows share, or None: place i belongs to slot i.
        gather: Without sharing, wait for this many free slots before refilling, so that prompts
            are prefilled together.
    """

    def __init__(self, slots: int, prefixes: int | None, gather: int) -> None:
        self.waiting: deque[Row] = deque()
        self.seated: dict[int, Seat] = {}
        self._free = list(range(slots - 1, -1, -1))
        self._gather = min(gather, slots)
        self._shared = prefixes is not None
        self._places: dict[int, tuple[int, ...] | None] = dict.fromkeys(range(prefixes or 0))
        self._users: Counter[int] = Counter()

    def submit(self, rows: Iterable[Row]) -> None:
        self.waiting.extend(rows)

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.seated)

    def admit(self) -> Admission:
        admission = Admission([], {})
        if not self._shared and self.seated and len(self._free) < self._gather:
            return admission
        while self.waiting and self._free:
            row = self.waiting[0]
            slot = self._free[-1]
            place = self._place(row, admission.prefill) if self._shared else slot
            if place is None:
                break
            if not self._shared:
                admission.prefill[place] = row.prompt
            self.waiting.popleft()
            self._free.pop()
            self._users[place] += 1
            self.seated[slot] = Seat(row, slot, place)
            admission.seats.append(self.seated[slot])
        return admission

    def leave(self, seat: Seat) -> None:
        del self.seated[seat.slot]
        self._users[seat.place] -= 1
        self._free.append(seat.slot)

    def live_places(self) -> set[int]:
        return {seat.place for seat in self.seated.values()}

    def _place(self, row: Row, prefill: dict[int, tuple[int, ...]]) -> int | None:
        for place, prompt in self._places.items():
            if prompt == row.prompt:
                return place
        for place in self._places:
            if not self._users[place]:
                self._places[place] = row.prompt
                prefill[place] = row.prompt
                return place
        return None
