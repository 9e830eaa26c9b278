"""Which request takes which slot, and where its prompt's prefix lies. Touches no tensors."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from pitboss.engine.request import Request
from pitboss.models.text import TextStream


@dataclass(slots=True)
class ActiveRequest:
    """A request in flight: its micro-batch, its slot there, its prompt's prefix slot, its tokens.

    `stream` turns tokens into text as they come, where somebody asks for it.
    """

    request: Request
    micro_batch: int
    slot: int
    prefix_slot: int
    tokens: list[int] = field(default_factory=list)
    stream: TextStream | None = None


@dataclass(slots=True)
class Admission:
    """Requests that take their slots now, and prompts (prefix slot → tokens) to prefill first."""

    requests: list[ActiveRequest]
    prefill: dict[int, tuple[int, ...]]


class Scheduler:
    """First come, first served; a freed slot is refilled at once.

    Args:
        slots: Requests in flight at most, of each micro-batch.
        prefixes: Prefix slots, for prompts that requests share; None: each slot has its own.
        gather: Without sharing, wait for this many free slots of a micro-batch before refilling
            them, so that prompts are prefilled together.

    Attributes:
        waiting: Requests that have no slot yet.
        active: Requests in flight by their slots, of each micro-batch.
    """

    def __init__(self, slots: list[int], prefixes: int | None, gather: int) -> None:
        self.prefixes, self.gather = prefixes, gather
        self.waiting: deque[Request] = deque()
        self.active: list[dict[int, ActiveRequest]] = [{} for _ in slots]
        self._free = [list(range(n - 1, -1, -1)) for n in slots]
        self._first_prefix_slot = [sum(slots[:i]) for i in range(len(slots))]
        self._gather = [min(gather, n) for n in slots]
        self._shared = prefixes is not None
        self._prompts: list[tuple[int, ...] | None] = [None] * (prefixes or 0)
        self._prefix_slot_of: dict[tuple[int, ...], int] = {}
        self._users: Counter[int] = Counter()

    def submit(self, requests: Iterable[Request]) -> None:
        self.waiting.extend(requests)

    def restarted(self, slots: list[int]) -> "Scheduler":
        """The same requests over other slots: those in flight wait again, before all others."""
        made = Scheduler(slots, self.prefixes, self.gather)
        made.submit(one.request for active in self.active for one in active.values())
        made.submit(self.waiting)
        return made

    @property
    def busy(self) -> bool:
        return bool(self.waiting or any(self.active))

    def admit(self, micro_batch: int) -> Admission:
        """Give waiting requests the free slots of a micro-batch."""
        admission = Admission([], {})
        free, active = self._free[micro_batch], self.active[micro_batch]
        if not self._shared and active and len(free) < self._gather[micro_batch]:
            return admission
        while self.waiting and free:
            request, slot = self.waiting[0], free[-1]
            prefix_slot: int | None = self._first_prefix_slot[micro_batch] + slot
            if self._shared:
                prefix_slot = self._shared_prefix_slot(request.prompt, admission.prefill)
            else:
                admission.prefill[self._first_prefix_slot[micro_batch] + slot] = request.prompt
            if prefix_slot is None:
                break
            self.waiting.popleft()
            free.pop()
            self._users[prefix_slot] += 1
            active[slot] = ActiveRequest(request, micro_batch, slot, prefix_slot)
            admission.requests.append(active[slot])
        return admission

    def release(self, one: ActiveRequest) -> None:
        """A request has ended: its slot is free."""
        del self.active[one.micro_batch][one.slot]
        self._users[one.prefix_slot] -= 1
        self._free[one.micro_batch].append(one.slot)

    def _shared_prefix_slot(
        self, prompt: tuple[int, ...], prefill: dict[int, tuple[int, ...]]
    ) -> int | None:
        """Where this prompt lies or can be put; None while others use every prefix slot."""
        if prompt in self._prefix_slot_of:
            return self._prefix_slot_of[prompt]
        for prefix_slot, old in enumerate(self._prompts):
            if not self._users[prefix_slot]:
                if old is not None:
                    del self._prefix_slot_of[old]
                self._prompts[prefix_slot] = prompt
                self._prefix_slot_of[prompt] = prefix_slot
                prefill[prefix_slot] = prompt
                return prefix_slot
        return None
