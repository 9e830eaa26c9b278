"""Which row sits in which slot, and where its prompt lies. Touches no tensors."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pitboss.engine.row import Row
from pitboss.models.text import TextStream


@dataclass(slots=True)
class Seat:
    """A row in flight: its gang, its slot there, the place of its prompt's prefix, its tokens.

    `stream` turns tokens into text as they come, where somebody asks for it.
    """

    row: Row
    gang: int
    slot: int
    place: int
    tokens: list[int] = field(default_factory=list)
    stream: TextStream | None = None


@dataclass(slots=True)
class Admission:
    """Rows that sit down now, and the prompts (place → tokens) that must be prefilled first."""

    seats: list[Seat]
    prefill: dict[int, tuple[int, ...]]


class Scheduler:
    """First come, first seated; a freed slot is refilled at once.

    Args:
        slots: Rows in flight at most, of each gang.
        prefixes: Places for prompts that rows share, or None: each slot has a place of its own.
        gather: Without sharing, wait for this many free slots of a gang before refilling them, so
            that prompts are prefilled together.
    """

    def __init__(self, slots: list[int], prefixes: int | None, gather: int) -> None:
        self.prefixes, self.gather = prefixes, gather
        self.waiting: deque[Row] = deque()
        self.seated: list[dict[int, Seat]] = [{} for _ in slots]
        self._free = [list(range(n - 1, -1, -1)) for n in slots]
        self._first_place = [sum(slots[:gang]) for gang in range(len(slots))]
        self._gather = [min(gather, n) for n in slots]
        self._shared = prefixes is not None
        self._prompts: list[tuple[int, ...] | None] = [None] * (prefixes or 0)
        self._place_of: dict[tuple[int, ...], int] = {}
        self._users: Counter[int] = Counter()

    def submit(self, rows: Iterable[Row]) -> None:
        self.waiting.extend(rows)

    def restarted(self, slots: list[int]) -> "Scheduler":
        """The same rows over other slots: those in flight wait again, before all others."""
        made = Scheduler(slots, self.prefixes, self.gather)
        made.submit(seat.row for gang in self.seated for seat in gang.values())
        made.submit(self.waiting)
        return made

    @property
    def busy(self) -> bool:
        return bool(self.waiting or any(self.seated))

    def admit(self, gang: int) -> Admission:
        """Seat waiting rows in a gang's free slots."""
        admission = Admission([], {})
        free, seated = self._free[gang], self.seated[gang]
        if not self._shared and seated and len(free) < self._gather[gang]:
            return admission
        while self.waiting and free:
            row, slot = self.waiting[0], free[-1]
            place: int | None = self._first_place[gang] + slot
            if self._shared:
                place = self._place(row.prompt, admission.prefill)
            else:
                admission.prefill[self._first_place[gang] + slot] = row.prompt
            if place is None:
                break
            self.waiting.popleft()
            free.pop()
            self._users[place] += 1
            seated[slot] = Seat(row, gang, slot, place)
            admission.seats.append(seated[slot])
        return admission

    def leave(self, seat: Seat) -> None:
        del self.seated[seat.gang][seat.slot]
        self._users[seat.place] -= 1
        self._free[seat.gang].append(seat.slot)

    def _place(self, prompt: tuple[int, ...], prefill: dict[int, tuple[int, ...]]) -> int | None:
        """Where this prompt lies or can be put; None while others use every place."""
        if prompt in self._place_of:
            return self._place_of[prompt]
        for place, old in enumerate(self._prompts):
            if not self._users[place]:
                if old is not None:
                    del self._place_of[old]
                self._prompts[place] = prompt
                self._place_of[prompt] = place
                prefill[place] = prompt
                return place
        return None
