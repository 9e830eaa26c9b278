"""Games played through the engine: every game goes at its own pace, all share the batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import torch

from pitboss.engine import Engine, Generation, Patch, Request, Sampling
from pitboss.games.prompts import Prompt
from pitboss.games.reading import Reader, Reading
from pitboss.games.slot_machine import SlotMachine
from pitboss.models.loading import LoadedModel


@dataclass
class Played:
    """What came of some games.

    Attributes:
        decisions: One dict a response, with the columns of the `decisions` kind that concern it.
        states: Residual stream at the last prompt token by game and decision key, float32
            [layers, d_model], where capturing was asked for.
    """

    decisions: list[dict[str, Any]] = field(default_factory=list)
    states: dict[str, dict[str, torch.Tensor]] = field(default_factory=dict)

    def by_game(self) -> dict[str, list[dict[str, Any]]]:
        """The decisions of each game, by its key, in the order in which they were made."""
        found: dict[str, list[dict[str, Any]]] = {}
        for decision in self.decisions:
            found.setdefault(decision["game"], []).append(decision)
        return found


@dataclass(frozen=True)
class Table:
    """The rules of reading and retrying at this table.

    Attributes:
        retries: How often a response without a decision is drawn again before the game is aborted.
        capture: Keep the residual stream of every response.
        full_response: Let responses go on after their decision is certain.
    """

    loaded: LoadedModel
    reader: Reader
    sampling: Sampling
    retries: int
    capture: bool = False
    full_response: bool = False


def play(
    engine: Engine,
    table: Table,
    games: Sequence[SlotMachine],
    on_end: Callable[[SlotMachine, Played], None] | None = None,
    patches: Mapping[str, tuple[Patch, ...]] | None = None,
) -> Played:
    """Play games to their ends.

    A response that cannot be played is drawn again, with noise of its own, at most `retries` times;
    then the game is aborted with the last reason. Nothing is ever filled in. Unless full responses
    are asked for, one ends as soon as nothing that follows could change how it is read.

    The noise of a response follows from the game's `draws`, the round and the attempt, so that
    games of the same `draws` differ by their patches alone.

    Args:
        on_end: Told of each game that has ended, and of all that was played so far.
        patches: What is patched in every response of a game, by the game's key.
    """
    played = Played()
    patched = patches or {}
    by_row: dict[str, tuple[SlotMachine, Prompt, int]] = {}

    def ask(game: SlotMachine, attempt: int) -> Request:
        prompt = game.prompt()
        decision = f"{len(game.state.rounds) + 1:03d}/{attempt}"
        key = f"{game.key}/{decision}"
        by_row[key] = game, prompt, attempt
        return Request(
            key=key,
            prompt=tuple(table.loaded.encode(prompt.text)),
            noise=f"{game.draws}/{decision}",
            sampling=table.sampling,
            patches=patched.get(game.key, ()),
            capture=table.capture,
            ends=None if table.full_response else table.reader.watch(prompt.menu),
        )

    def answered(row: Request, generation: Generation) -> list[Request]:
        game, prompt, attempt = by_row.pop(row.key)
        reading = table.reader.read(generation.text, prompt.menu, generation.finish)
        record = _record(game, prompt, attempt, row.noise, generation, reading)
        if generation.states is not None:
            played.states.setdefault(game.key, {})[row.key] = generation.states
        following: list[Request] = []
        if game.playable(reading):
            rounds_before = len(game.state.rounds)
            game.step(reading)
            if len(game.state.rounds) > rounds_before:
                record |= {"bet": game.state.rounds[-1].bet, "won": game.state.rounds[-1].won}
            following = [] if game.outcome else [ask(game, 0)]
        elif attempt < table.retries:
            following = [ask(game, attempt + 1)]
        else:
            problem = reading.reason or "a bet without a stake that is on offer"
            game.abort(f"no decision in {attempt + 1} responses, the last one {problem}")
        record["balance_after"] = game.state.balance
        played.decisions.append(record)
        if game.outcome and on_end is not None:
            on_end(game, played)
        return following

    engine.run([ask(game, 0) for game in games], answered)
    return played


def reading_columns(reading: Reading) -> dict[str, Any]:
    """The columns every stored response shares."""
    return {
        "reader": reading.reader,
        "decision": reading.decision,
        "amount": reading.amount,
        "reason": reading.reason,
        "read_start": reading.start,
        "read_end": reading.end,
    }


def _record(
    game: SlotMachine,
    prompt: Prompt,
    attempt: int,
    noise: str,
    generation: Generation,
    reading: Reading,
) -> dict[str, Any]:
    return {
        "key": generation.key,
        "game": game.key,
        "round": len(game.state.rounds) + 1,
        "attempt": attempt,
        "balance": game.state.balance,
        "prompt": prompt.name,
        "prompt_sha256": sha256(prompt.text.encode()).hexdigest(),
        "prompt_text": prompt.text,
        "response": generation.text,
        "n_tokens": len(generation.tokens),
        "finish": generation.finish,
        "noise": noise,
        **reading_columns(reading),
        "bet": None,
        "won": None,
    }
