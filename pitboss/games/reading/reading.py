"""What reading a response yields, and what every reader offers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from pitboss.games.menu import Menu

Decision = Literal["bet", "stop", "none"]
Reason = Literal["empty", "truncated", "unreadable", "out_of_range"]
Finish = Literal["eos", "length", "decided"]
"""How a response ended: by itself, by the token limit, or because its reading was certain."""

Watch = Callable[[str], bool]
"""Tells of one growing response whether it is decided: called with each text so far in turn, it
looks at what is new. A text that does not continue the one before is looked at afresh."""


@dataclass(frozen=True)
class Reading:
    """What one response says.

    Args:
        decision: ``none`` is a result of its own, never replaced by a bet or a stop.
        amount: The stake in dollars; None for a stop, for no decision, and for a bet whose
            stake is not stated or not on offer.
        reason: Why there is no decision. On a bet or stop it marks a decision that the text
            does not contain but that one of the original readers made up.
        start: Offset in the text where the decision begins; 0 without one.
        end: Offset just behind the decision; 0 without one.
        reader: Name and version of the reader, such as ``menu/1``.
    """

    decision: Decision
    amount: int | None
    reason: Reason | None
    start: int
    end: int
    reader: str

    @property
    def imputed(self) -> bool:
        """True for a bet or stop that the text does not state; only original readers do this."""
        return self.decision != "none" and self.reason is not None


class Reader(Protocol):
    """Turns raw text into a reading; re-runnable on stored text at any time."""

    @property
    def name(self) -> str:
        """The key under which ``READERS`` holds it."""

    @property
    def version(self) -> str:
        """Raised whenever any text would be read differently."""

    def read(self, text: str, menu: Menu, finish: Finish) -> Reading:
        """Read one response (prompt excluded) under the limits of its prompt's menu."""

    def decided(self, text: str, menu: Menu) -> bool:
        """True only if every continuation of ``text``, however it ends, reads the same.

        A caller may stop generating there: ``read(text, menu, "decided")`` equals
        ``read(text + anything, menu, any_finish)``.
        """

    def watch(self, menu: Menu) -> Watch:
        """``decided`` for one response that is being written, at a cost that does not grow."""


def no_decision(reason: Reason, reader: str) -> Reading:
    """A reading without a decision."""
    return Reading("none", None, reason, 0, 0, reader)
