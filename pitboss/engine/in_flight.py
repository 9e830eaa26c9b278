"""The requests in flight: what steps give them, until each has ended and has its text."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pitboss.engine.request import Finish, Generation, Request
from pitboss.engine.runner import Runner
from pitboss.engine.scheduler import ActiveRequest, Admission, Scheduler
from pitboss.models.loading import LoadedModel
from pitboss.models.text import fast_backend


class Ended(NamedTuple):
    """A request that has left its slot, and what it has made."""

    request: Request
    tokens: list[int]
    finish: Finish
    states: torch.Tensor | None
    logits: list[torch.Tensor]


class InFlight:
    """Requests from their slot to their end, over the scheduler that gives out the slots.

    Attributes:
        computing: Micro-batches whose step has been launched and not collected.
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

    def admit(self, micro_batch: int) -> Admission:
        """Give waiting requests the free slots of a micro-batch."""
        admission = self.scheduler.admit(micro_batch)
        for one in admission.requests:
            if one.request.ends is not None:
                one.stream = self.loaded.stream()
        return admission

    def collect(self, micro_batch: int, runner: Runner) -> list[Ended]:
        """Give a finished step's tokens to their requests; those that ended leave their slots."""
        active = list(self.scheduler.active[micro_batch].values())
        output = runner.collect([one.slot for one in active if _begins(one)])
        self.computing.discard(micro_batch)
        for slot, states in output.states.items():
            self._states[self.scheduler.active[micro_batch][slot].request.key] = states
        ended = []
        for one in active:
            if output.logits is not None:
                logits = self._logits.setdefault(one.request.key, [])
                logits.append(output.logits[one.slot].clone())
            finish = self._advance(one, output.tokens[one.slot])
            if finish is not None:
                self.scheduler.release(one)
                runner.clear(one.slot)
                ended.append(self._ended(one, finish))
        return ended

    def _advance(self, one: ActiveRequest, token: int) -> Finish | None:
        if token in self.loaded.eos_ids:
            return "eos"
        one.tokens.append(token)
        ends = one.request.ends
        if ends is not None and one.stream is not None and ends(one.stream.push(token)):
            return "decided"
        if len(one.tokens) == one.request.sampling.max_new_tokens:
            return "length"
        return None

    def _ended(self, one: ActiveRequest, finish: Finish) -> Ended:
        key = one.request.key
        states, logits = self._states.pop(key, None), self._logits.pop(key, [])
        return Ended(one.request, one.tokens, finish, states, logits)

    def generations(self, ended: Iterable[Ended]) -> Iterable[tuple[Request, Generation]]:
        """What requests have made, with their texts."""
        for request, tokens, finish, states, logits in ended:
            every = torch.stack(logits) if logits else None
            text = self._text(tokens)
            yield request, Generation(request.key, tuple(tokens), text, finish, states, every)


def _begins(one: ActiveRequest) -> bool:
    """Whether the step was a request's first, and its states are wanted."""
    return one.request.capture and not one.tokens


def texts_of(loaded: LoadedModel) -> Callable[[list[int]], str]:
    """What `loaded.decode` computes, by the tokenizer's own backend where that is the same text.

    Without cleaning up spaces, which the project never does, a tokenizer of transformers hands the
    ids to its backend and returns what that says, after looking at what it was given. A tokenizer
    that decodes in a way of its own is asked itself.
    """
    kind: Any = type(loaded.tokenizer)
    backend = fast_backend(loaded.tokenizer)
    plain = (
        getattr(kind, "decode", None) is PreTrainedTokenizerBase.decode
        and getattr(kind, "_decode", None) is PreTrainedTokenizerFast._decode
    )
    if backend is None or not plain:
        return loaded.decode
    decode = backend.decode
    return lambda ids: str(decode(ids, skip_special_tokens=True))
