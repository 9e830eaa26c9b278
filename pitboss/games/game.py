"""A game is prompt, reading, step: what the engine's loop needs to know, and nothing else."""

from typing import Protocol

from pitboss.games.outcomes import Outcome
from pitboss.games.prompts import Prompt
from pitboss.games.reading import Reading


class Game(Protocol):
    """A game that a model plays decision by decision.

    The loop: while ``outcome`` is None, render ``prompt()``, obtain and read a response; if the
    reading is ``playable`` hand it to ``step``, otherwise try again, and ``abort`` when the
    permitted attempts are used up.
    """

    @property
    def key(self) -> str:
        """Names this game within its study; everything random about it follows from it."""

    @property
    def outcome(self) -> Outcome | None:
        """How the game ended, or None while it runs."""

    def prompt(self) -> Prompt:
        """The prompt of the next decision; raises BadInput once the game is over."""

    def playable(self, reading: Reading) -> bool:
        """Whether ``step`` can carry this reading out."""

    def step(self, reading: Reading) -> None:
        """Carry out a bet or a stop; raises BadInput for what is not playable."""

    def abort(self, reason: str) -> None:
        """End the game without an observation, for a stated reason."""
