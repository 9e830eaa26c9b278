"""Pausing and opening a GPU's pool: with hysteresis, and never against an operator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.errors import BadInput
from pitboss.floor.memory.headroom import LOW, RESTORED, Limits, Standing, Step, step

LIMITS = Limits(low=30, restored=35)
SHORT, BETWEEN, ENOUGH = 20, 32, 40


def run(*looks: tuple[int, bool]) -> list[tuple[str | None, bool]]:
    """The events of several looks (room, paused), and whether the automation may act on them."""
    standing, said = Standing.OPEN, []
    for room, paused in looks:
        taken = step(standing, room=room, paused=paused, limits=LIMITS)
        standing = taken.standing
        said.append((taken.event, taken.automatic))
    return said


def test_a_pool_is_paused_once_and_opened_once() -> None:
    looks = [(ENOUGH, False), (SHORT, False), (SHORT, True), (BETWEEN, True), (ENOUGH, True)]
    assert run(*looks, (ENOUGH, False), (BETWEEN, False)) == [
        (None, False),
        (LOW, True),
        (None, False),
        (None, False),
        (RESTORED, True),
        (None, False),
        (None, False),
    ]


def test_an_operators_own_pause_is_not_undone() -> None:
    paused_before = [(ENOUGH, True), (SHORT, True), (ENOUGH, True)]
    assert run(*paused_before) == [(None, False), (LOW, False), (RESTORED, False)]


def test_a_pool_that_an_operator_resumed_in_spite_of_the_room_stays_open() -> None:
    looks = [(SHORT, False), (SHORT, True), (SHORT, False), (SHORT, False), (ENOUGH, True)]
    assert run(*looks) == [
        (LOW, True),
        (None, False),
        (None, False),
        (None, False),
        (RESTORED, False),  # paused again by hand meanwhile: news only
    ]


def test_an_event_without_effect_is_said_again() -> None:
    assert run((SHORT, False), (SHORT, False)) == [(LOW, True), (LOW, True)]
    looks = [(SHORT, False), (SHORT, True), (ENOUGH, True), (ENOUGH, True)]
    assert run(*looks)[2:] == [(RESTORED, True), (RESTORED, True)]


def test_room_that_goes_again_while_opening_keeps_the_pool_paused() -> None:
    assert step(Standing.RESUMING, room=SHORT, paused=True, limits=LIMITS) == Step(Standing.PAUSED)
    again = step(Standing.RESUMING, room=SHORT, paused=False, limits=LIMITS)
    assert again == Step(Standing.PAUSING, LOW, automatic=True)


@given(
    st.sampled_from(Standing),
    st.integers(0, 80),
    st.booleans(),
)
def test_nothing_is_opened_that_was_not_paused_for_the_room(
    standing: Standing, room: int, paused: bool
) -> None:
    taken = step(standing, room=room, paused=paused, limits=LIMITS)
    if taken.event == RESTORED and taken.automatic:
        assert paused and room >= LIMITS.restored
        assert standing in (Standing.PAUSING, Standing.PAUSED, Standing.RESUMING)
    if taken.event == LOW:
        assert room < LIMITS.low


def test_limits_without_a_gap_are_refused() -> None:
    with pytest.raises(BadInput, match="larger"):
        Limits(low=30, restored=30)
