"""The rows in flight: what steps give them, until each has ended."""

from collections.abc import Iterable
from typing import NamedTuple

import torch

from pitboss.engine.row import Finish, Generation, Row
from pitboss.engine.runner import Runner
from pitboss.engine.scheduler import Admission, Scheduler, Seat
from pitboss.engine.texts import texts_of
from pitboss.models.loading import LoadedModel


class Ended(NamedTuple):
    """A row that has left its slot, and what it has made."""

    row: Row
    tokens: list[int]
    finish: Finish
    states: torch.Tensor | None
    logits: list[torch.Tensor]


class Flight:
    """Rows from their seat to their end, over the scheduler that says where they sit.

    Attributes:
        computing: Gangs whose step has been launched and not collected.
    """

    def __init__(self, loaded: LoadedModel, scheduler: Scheduler) -> None:
        self.loaded, self.scheduler = loaded, scheduler
        self._text = texts_of(loaded)
        self._begin()

    def _begin(self) -> None:
        self.computing: set[int] = set()
        self._logits: dict[str, list[torch.Tensor]] = {}
        self._states: dict[str, torch.Tensor] = {}

    def restart(self, slots: list[int]) -> None:
        """Go on with other slots: what was in flight begins again, and what it has left is void."""
        self.scheduler = self.scheduler.restarted(slots)
        self._begin()

    def admit(self, gang: int) -> Admission:
        """Seat waiting rows in a gang's free slots."""
        admission = self.scheduler.admit(gang)
        for seat in admission.seats:
            if seat.row.ends is not None:
                seat.stream = self.loaded.stream()
        return admission

    def collect(self, gang: int, runner: Runner) -> list[Ended]:
        """Give a finished step's tokens to their rows; those that ended have left their slots."""
        seats = list(self.scheduler.seated[gang].values())
        output = runner.collect([s.slot for s in seats if s.row.capture and not s.tokens])
        self.computing.discard(gang)
        for slot, states in output.states.items():
            self._states[self.scheduler.seated[gang][slot].row.key] = states
        ended = []
        for seat in seats:
            if output.logits is not None:
                logits = self._logits.setdefault(seat.row.key, [])
                logits.append(output.logits[seat.slot].clone())
            finish = self._advance(seat, output.tokens[seat.slot])
            if finish is not None:
                self.scheduler.leave(seat)
                runner.clear(seat.slot)
                ended.append(self._ended(seat, finish))
        return ended

    def _advance(self, seat: Seat, token: int) -> Finish | None:
        if token in self.loaded.eos_ids:
            return "eos"
        seat.tokens.append(token)
        row = seat.row
        if row.ends is not None and seat.stream is not None and row.ends(seat.stream.push(token)):
            return "decided"
        if len(seat.tokens) == row.sampling.max_new_tokens:
            return "length"
        return None

    def _ended(self, seat: Seat, finish: Finish) -> Ended:
        key = seat.row.key
        states, logits = self._states.pop(key, None), self._logits.pop(key, [])
        return Ended(seat.row, seat.tokens, finish, states, logits)

    def generations(self, ended: Iterable[Ended]) -> Iterable[tuple[Row, Generation]]:
        """What rows have made, with their texts."""
        for row, tokens, finish, states, logits in ended:
            every = torch.stack(logits) if logits else None
            text = self._text(tokens)
            yield row, Generation(row.key, tuple(tokens), text, finish, states, every)
