"""The memory guard's decisions, on tables and on random tenants, and the thread that asks for them.

A made-up machine of 100 bytes: a job of 8 slots holds 20 + 5 a slot, others hold what a test says.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.errors import BadInput, PitbossError
from pitboss.floor.memory.guard import Ask, Footprint, Guard, Thresholds, admit
from pitboss.floor.memory.watcher import Watcher, nvml_headroom

TOTAL = 100
JOB = Footprint(base=20, slot=5)
AT = Thresholds(reserve=10, margin=5, patience_s=2, hold_s=20, longest_hold_s=160)


class Machine:
    """A GPU with a tenant, a guarded job that does what it is told, and a clock of seconds."""

    def __init__(
        self, guard: Guard, total: int = TOTAL, really: Footprint = JOB, late: int = 0
    ) -> None:
        self.guard, self.total, self.really = guard, total, really
        self.has, self.now, self.late = guard.cap, 0, late
        self.asks: list[tuple[int, Ask]] = []

    def free(self, tenant: int) -> int:
        return self.total - tenant - self.really.bytes(self.has)

    def second(self, tenant: int) -> None:
        """One look; the job hears of what was asked for `late` seconds later at most."""
        self.now += 1
        ask = self.guard.look(self.now, self.free(tenant))
        assert 0 <= ask.slots == self.guard.slots <= self.guard.cap
        if ask.action != "continue":
            self.asks.append((self.now, ask))
        if self.late and self.now % self.late:
            return
        self.has = self.guard.answer(self.has)
        assert self.guard.answer(self.has) == self.has

    def run(self, tenants: list[int] | Iterator[int]) -> "Machine":
        for tenant in tenants:
            self.second(tenant)
        return self

    @property
    def story(self) -> list[tuple[int, str, int]]:
        return [(now, ask.action, ask.slots) for now, ask in self.asks]


def machine(**thresholds: float) -> Machine:
    return Machine(Guard(replace(AT, **thresholds), 8, JOB))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tenants", "story"),
    [
        # 60 of ours, 30 of others: the reserve of 10 is just there
        ([30] * 200, []),
        # one byte more, for less than the patience, then for longer: 8 slots become 6
        ([31] * 2 + [30] * 9 + [31], []),
        ([31] * 3, [(3, "shrink", 6)]),
        # less than half of the reserve is left: at once; and no more than is needed
        ([36], [(1, "shrink", 6)]),
        ([41, 46, 51, 51], [(1, "shrink", 5), (3, "shrink", 3)]),
        # even one slot is too much: park; there is no shrinking on the way that would not do
        ([66], [(1, "park", 0)]),
        ([65], [(1, "shrink", 1)]),
        ([65] * 2 + [66] * 3, [(1, "shrink", 1), (5, "park", 0)]),
        # the tenant leaves: back after 20 s of room, all at once
        ([66] + [0] * 20, [(1, "park", 0)]),
        ([66] + [0] * 21, [(1, "park", 0), (22, "return", 8)]),
        # it leaves in part: as many as fit beside reserve and margin
        ([66] + [40] * 21, [(1, "park", 0), (22, "return", 5)]),
        ([66] + [60] * 99, [(1, "park", 0), (22, "return", 1)]),
        ([66] + [61] * 99, [(1, "park", 0)]),
        # room that comes and goes within the hold is none; the least of it counts
        ([66] + ([0] * 15 + [66] * 5) * 9, [(1, "park", 0)]),
        ([66] + ([0] * 15 + [40] * 5) * 2, [(1, "park", 0), (22, "return", 5)]),
        # growing: from five slots to six is worth it, from seven to eight too
        ([41] + [40] * 99, [(1, "shrink", 5)]),
        ([41] + [34] * 22, [(1, "shrink", 5), (22, "grow", 6)]),
    ],
)
def test_what_is_asked_for(tenants: list[int], story: list[tuple[int, str, int]]) -> None:
    assert machine().run(tenants).story == story


def test_room_taken_too_early_is_waited_for_twice_as_long() -> None:
    made = machine()
    came_back = []
    for _ in range(7):
        made.run([66])
        left = made.now
        while not made.has:
            made.second(0)
        came_back.append(made.now - left - 1)
    assert came_back == [20, 40, 80, 160, 160, 160, 160]
    made.run([0] * 1700 + [66] + [0] * 21)  # a long calm: the tenant is trusted again
    assert made.has == 8


def test_a_job_that_finds_no_memory_for_what_it_was_told_is_believed() -> None:
    guard = machine().run([66] + [0] * 20).guard
    assert guard.look(22, TOTAL).action == "return" and guard.answer(0) == 8
    assert guard.look(23, 3).action == "continue"  # it is being built: what is free says nothing
    assert guard.answer(0) == 0 and guard.hold_s == 40  # it could not come back
    assert guard.look(24, TOTAL).action == "continue"
    assert guard.look(63, TOTAL).action == "continue"
    assert guard.look(64, TOTAL).action == "return" and guard.answer(0) == 8
    assert guard.answer(4) == 4  # it found memory for half
    assert guard.has == guard.slots == 4 and guard.hold_s == 80


def test_a_job_that_is_slow_to_hear_is_asked_for_more_only_if_more_is_needed() -> None:
    guard = machine().guard
    assert guard.look(1, 100 - 41 - 60).slots == 5
    assert guard.look(2, 100 - 41 - 60).action == "continue"  # has not heard yet
    assert guard.look(3, 100 - 70 - 60).action == "park"
    assert guard.answer(8) == 0


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Guard, int]:
    footprint = Footprint(draw(st.integers(0, 50)), draw(st.integers(0, 9)))
    thresholds = Thresholds(
        reserve=draw(st.integers(0, 20)),
        margin=draw(st.integers(0, 10)),
        patience_s=draw(st.integers(0, 5)),
        hold_s=draw(st.integers(1, 30)),
        longest_hold_s=120,
    )
    cap = draw(st.integers(1, 20))
    return Guard(thresholds, cap, footprint), footprint.bytes(cap) + thresholds.reserve


def tenants() -> st.SearchStrategy[list[int]]:
    stretch = st.tuples(st.integers(0, 250), st.integers(1, 60))
    return st.lists(stretch, max_size=12).map(lambda s: [size for size, n in s for _ in range(n)])


@settings(max_examples=200, deadline=None)
@given(jobs(), tenants(), st.integers(0, 7))
def test_never_above_the_cap_and_never_in_a_flutter(
    made: tuple[Guard, int], tenants: list[int], late: int
) -> None:
    guard, total = made
    ran = Machine(guard, total, guard.footprint, late).run(tenants)  # asserts the cap at each look
    ups = [now for now, ask in ran.asks if ask.action in ("grow", "return")]
    assert all(b - a >= guard.at.hold_s for a, b in zip(ups, ups[1:], strict=False))
    # Between two ups, slots only go down, each time by a quarter or more.
    before, last_up = guard.cap, None
    for now, ask in ran.asks:
        up = ask.action in ("grow", "return")
        assert (ask.slots > before) if up else (ask.slots <= 0.75 * before)
        assert (ask.action == "return") == (up and before == 0)
        assert (ask.action == "park") == (not up and ask.slots == 0)
        before, last_up = ask.slots, now if up else last_up


@settings(max_examples=200, deadline=None)
@given(jobs(), tenants(), st.integers(0, 300), st.sampled_from([0.5, 0.8, 1.0, 1.5]))
def test_the_reserve_is_left_in_the_end_however_wrong_the_footprint(
    made: tuple[Guard, int], tenants: list[int], last: int, wrong: float
) -> None:
    guard, total = made
    given_out = guard.footprint
    really = Footprint(int(given_out.base * wrong), int(given_out.slot * wrong))
    ran = Machine(guard, total, really).run([*tenants, *[last] * 800])
    reserve, patience = guard.at.reserve, guard.at.patience_s
    if ran.free(last) < reserve:  # nothing more can be given up, or more was tried just now
        ups = [now for now, ask in ran.asks if ask.action in ("grow", "return")]
        assert ran.has == 0 or (ups and ran.now - ups[-1] <= patience + 2)
    if total - last - really.bytes(1) < reserve:  # one slot is too many
        tries = [now for now, ask in ran.asks if ask.action == "return" and now > len(tenants)]
        assert ran.has == 0 or ran.now - tries[-1] <= patience + 2
    if wrong == 1.0:  # a tenant that does not move: one change down, one up, no more
        late = [now for now, _ in ran.asks if now > len(tenants) + patience + guard.hold_s + 240]
        assert late == []
        if total - last - given_out.bytes(guard.cap) >= reserve + guard.at.margin:
            assert ran.has == guard.cap


@pytest.mark.parametrize(
    ("footprint", "free", "reserve", "cap", "refusal"),
    [
        (20, 30, 10, None, None),
        (21, 30, 10, None, "1.0 GB are missing"),
        (20, 30, 10, 20, None),
        (20, 30, 10, 19, "19.0 GB are allowed"),
    ],
)
def test_admission(
    footprint: int, free: int, reserve: int, cap: int | None, refusal: str | None
) -> None:
    in_bytes = [n if n is None else n * 10**9 for n in (footprint, free, reserve, cap)]
    if refusal is None:
        admit(*in_bytes)  # type: ignore[arg-type]
        return
    with pytest.raises(BadInput, match=refusal):
        admit(*in_bytes)  # type: ignore[arg-type]


def test_thresholds_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadInput, match="thresholds"):
        Thresholds(reserve=-1, margin=0)
    with pytest.raises(BadInput, match="thresholds"):
        Thresholds(reserve=1, margin=0, hold_s=0)
    with pytest.raises(BadInput, match="0 slots"):
        Guard(AT, 0, JOB)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_thread_shrinks_parks_and_returns_a_job_and_says_so() -> None:
    tenant, has, said = 0, 8, list[str]()
    fast = replace(AT, patience_s=0.02, hold_s=0.1, longest_hold_s=0.1)
    free = lambda: TOTAL - tenant - JOB.bytes(has)  # noqa: E731
    watcher = Watcher(free, fast, every_s=0.01, say=said.append).start()
    assert watcher(3) == 3  # nothing to guard yet
    watcher.about(8, JOB)

    def step() -> int:
        nonlocal has
        has = watcher(has)
        return has

    assert step() == 8
    tenant = 41
    until(lambda: step() == 5)
    tenant = 90
    until(lambda: step() == 0)
    began = time.monotonic()
    assert step() == 0 and time.monotonic() - began > 0.002  # waits, so that the engine need not
    tenant = 0
    until(lambda: step() == 8)
    watcher.stop()
    words = [sentence.split(":")[1].split()[0] for sentence in said]
    assert words == ["shrink", "park", "return"]
    until(lambda: "memory guard" not in {thread.name for thread in threading.enumerate()})


def test_a_job_nobody_watches_is_stopped() -> None:
    works = True

    def free() -> int:
        if not works:
            raise OSError("the GPU fell off the bus")
        return TOTAL

    watcher = Watcher(free, AT, every_s=10).start()
    watcher.about(8, JOB)
    works = False
    for _ in range(9):
        watcher.look()
    assert watcher(8) == 8
    watcher.look()
    with pytest.raises(PitbossError, match="fell off the bus"):
        watcher(8)
    works = True
    watcher.look()
    assert watcher(8) == 8
    watcher.stop()
    works = False
    with pytest.raises(PitbossError, match="cannot be read"):
        Watcher(free, AT).start()


def test_a_gpu_that_nvml_does_not_show_is_named() -> None:
    with pytest.raises(BadInput, match="NVML does not show the GPU"):
        nvml_headroom("GPU-00000000-0000-0000-0000-000000000000")
