"""When a GPU's pool should be paused because others need the memory, and when opened again.

Decided from three things: the room that others leave on the GPU, whether the pool is paused, and
where this decision stood the last time. The last one is what keeps an operator's own pause: a pool
that was paused before the room ran short, or that somebody resumed in spite of it, is left alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from pitboss.errors import BadInput
from pitboss.store.documents import read_value, replace_json

FILE = "approved.json"
LOW = "pitboss.gpu.headroom-low"
RESTORED = "pitboss.gpu.headroom-restored"
AUTOMATIC = "pitboss.automatic"
"""Label of an event: "yes" where an automation may act on it, "no" where a person decided."""


class Standing(StrEnum):
    """Where a pool stands between two looks at the floor."""

    OPEN = "open"
    """There is room; whether the pool is paused is the operator's business."""

    PAUSING = "pausing"
    """The room ran short and a pause was asked for; the pool has not been seen paused yet."""

    PAUSED = "paused"
    """Paused because of the room, so it may be opened because of the room."""

    OPERATORS = "operator's"
    """The room is short, but a person decided about the pool: paused before, or resumed since."""

    RESUMING = "resuming"
    """There is room again and opening was asked for; the pool has not been seen open yet."""


@dataclass(frozen=True)
class Limits:
    """When the room counts as short and when as there again, in bytes.

    Attributes:
        low: Below this the room is short.
        restored: From this on it is there again; above `low`, so that a room that moves up and down
            by a little does not open and close the pool all the time.
    """

    low: int
    restored: int

    def __post_init__(self) -> None:
        if not 0 < self.low < self.restored:
            raise BadInput(
                f"The room counts as short below {self.low:,} bytes and as there again from "
                f"{self.restored:,} on.",
                where="limits of the headroom",
                next="Give the first a positive number and the second a larger one.",
            )


@dataclass(frozen=True)
class Step:
    """What one look at a GPU leads to.

    Attributes:
        standing: Where the pool stands now.
        event: LOW, RESTORED or none.
        automatic: Whether the automation may act on the event; without it, it is news only.
    """

    standing: Standing
    event: str | None = None
    automatic: bool = False


def step(standing: Standing, *, room: int, paused: bool, limits: Limits) -> Step:
    """Where a pool stands after a look at its GPU, and what is to be said about it.

    An event that had no effect is said again: events can be lost while a server restarts.

    Args:
        standing: Where it stood after the last look.
        room: Bytes of the GPU that others leave free, whether or not we use them now.
        paused: Whether the pool is paused now.
    """
    short, enough = room < limits.low, room >= limits.restored
    match standing:
        case Standing.OPEN if short and paused:
            return Step(Standing.OPERATORS, LOW)
        case Standing.OPEN if short:
            return Step(Standing.PAUSING, LOW, automatic=True)
        case Standing.PAUSING if enough and not paused:
            return Step(Standing.OPEN, RESTORED)
        case Standing.PAUSING if short and not paused:
            return Step(Standing.PAUSING, LOW, automatic=True)
        case Standing.PAUSING | Standing.PAUSED if enough and paused:
            return Step(Standing.RESUMING, RESTORED, automatic=True)
        case Standing.PAUSING if paused:
            return Step(Standing.PAUSED)
        case Standing.PAUSED if not paused:  # somebody resumed it in spite of the room
            return Step(Standing.OPEN, RESTORED) if enough else Step(Standing.OPERATORS)
        case Standing.OPERATORS if enough:
            return Step(Standing.OPEN, RESTORED)
        case Standing.RESUMING if not paused:
            return step(Standing.OPEN, room=room, paused=False, limits=limits)
        case Standing.RESUMING if short:
            return Step(Standing.PAUSED)
        case Standing.RESUMING if enough:
            return Step(Standing.RESUMING, RESTORED, automatic=True)
        case _:
            return Step(standing)


def write_limits(folder: Path, limits: Mapping[int, Limits]) -> None:
    """Keep the limits of approved GPUs for the watch."""
    replace_json(folder / FILE, {str(gpu): asdict(its) for gpu, its in limits.items()})


def read_limits(folder: Path, gpus: Iterable[int], otherwise: Limits) -> dict[int, Limits]:
    """The limits of these GPUs: those of the newest decision that a campaign began on.

    Args:
        otherwise: For GPUs that no decision is about.

    Raises:
        BadInput: The file is damaged.
    """
    approved = read_value(
        folder / FILE,
        dict[int, Limits],
        {},
        what="approved limits",
        next_step="Remove the file; the next campaign with an approval writes it again.",
    )
    return {gpu: approved.get(gpu, otherwise) for gpu in gpus}
