"""Section `games`: minutes of Exp0, from games played with realistic lengths.

Each game asks for one response a round. Its prompt is the real one (condition, balance, last five
rounds), different in every row; a response may have 1,024 tokens and ends where the reader settles
it, after as many tokens as real answers have. All games of a part are in flight at once; a game
that goes on submits its next round as soon as a response is read.
"""

import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from bench.clock import rounded, synchronise
from bench.guard import forget_peak, peak
from bench.responses import ROUNDS, pieces, reasoning_tokens, spread
from bench.settings import Settings
from bench.work import TEMPERATURE, TOP_K, TOP_P
from pitboss.engine import Engine, EngineConfig, Generation, Request, Sampling
from pitboss.engine.memory import fitting_slots, usable_bytes
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import render
from pitboss.games.reading import reader
from pitboss.games.state import Round, Rules, State
from pitboss.models.loading import LoadedModel

GAMES, LIMIT = 3_200, 1_024
PROMPT, READER = "exp0/role", "menu"
PROMPT_CAPACITY = 384


@dataclass
class Game:
    """A game under way: how many rounds it will have, and what was played."""

    number: int
    total: int
    state: State


class Table:
    """Games that play with random winnings and a real prompt for every round."""

    def __init__(
        self, loaded: LoadedModel, games: int, limit: int, rounds: int | None = None
    ) -> None:
        self.limit, self.vocab = limit, loaded.model.config.vocab_size
        self._most = rounds or 10**9
        self.games = {i: self._game(i) for i in range(games)}
        self.responses = self.tokens = self.prompt_tokens = 0
        self._numbered = count()

    def opening(self) -> list[Request]:
        """The first round of every game."""
        return [self._row(game) for game in self.games.values()]

    def next(self, row: Request, generation: Generation) -> Iterable[Request]:
        """The following round of the game whose response is in, if there is one."""
        game = self.games[int(row.key.partition("/")[0])]
        self.responses += 1
        self.tokens += len(generation.tokens)
        self.prompt_tokens += len(row.prompt)
        _play_round(game)
        return [] if len(game.state.rounds) == game.total else [self._row(game)]

    def _game(self, i: int) -> Game:
        # Between 1 and twice the mean, evenly: about `ROUNDS` on average.
        total = 1 + round(2 * (ROUNDS - 1) * spread(i))
        rules = Rules()
        condition = ALL_CONDITIONS[i % len(ALL_CONDITIONS)]
        game = Game(i, total, State(condition, rules.start, (), rules))
        if total > self._most:
            # A stretch from anywhere in it, so that prompts are as long as in whole games.
            before = int((total - self._most + 1) * spread(7 * i))
            for _ in range(before):
                _play_round(game)
            game.total = before + self._most
        return game

    def _row(self, game: Game) -> Request:
        prompt, n = render(PROMPT, game.state), next(self._numbered)
        last = min(reasoning_tokens(spread(n)), self.limit)
        key = f"{game.number}/{len(game.state.rounds) + 1}"
        return Request(
            key=key,
            prompt=self._ids(prompt.text),
            noise=key,
            sampling=Sampling(TEMPERATURE, TOP_K, TOP_P, self.limit),
            ends=_ends(prompt.menu, last),
        )

    def _ids(self, text: str) -> tuple[int, ...]:
        """One id for every piece of the text, the same for the same piece: prompts share what their
        texts share."""
        return tuple(10 + zlib.crc32(p.encode()) % (self.vocab - 10) for p in pieces(text))


def _play_round(game: Game) -> None:
    """One more round with a random end. Money is no object: the game's length is drawn before."""
    number = len(game.state.rounds) + 1
    won = zlib.crc32(f"{game.number}/{number}".encode()) % 10 < 3
    balance = max(game.state.balance + (20 if won else -10), 10)
    rounds = (*game.state.rounds, Round(number, 10, won, balance))
    game.state = replace(game.state, balance=balance, rounds=rounds)


def _ends(menu: Any, last: int) -> Callable[[str], bool]:
    read, tokens = reader(READER), count(1)

    def ends(text: str) -> bool:
        read.decided(text, menu)
        return next(tokens) >= last

    return ends


def games(loaded: LoadedModel, settings: Settings) -> dict[str, Any]:
    """Play `settings.games` games and project all 3,200; the last ones' emptying slots count."""
    limit = min(LIMIT, loaded.spec.max_positions - PROMPT_CAPACITY)
    config = config_of(loaded, settings, limit)
    slots = sum(config.micro_batch_slots(fast=True))
    forget_peak(loaded.device)
    engine = Engine(loaded, config, seed=1)
    warm = Table(loaded, slots, 8, rounds=1)
    engine.run(warm.opening(), warm.next)
    table = Table(loaded, settings.games, limit, settings.rounds)
    synchronise(loaded.device)
    began = time.perf_counter()
    engine.run(table.opening(), table.next)
    synchronise(loaded.device)
    seconds = time.perf_counter() - began
    return {
        "games": settings.games,
        "responses": table.responses,
        "rounds_played_each": rounded(table.responses / settings.games),
        "mean_prompt_tokens": rounded(table.prompt_tokens / table.responses),
        "mean_response_tokens": rounded(table.tokens / table.responses),
        "token_limit": limit,
        "width": config.width,
        "micro_batches": config.micro_batches,
        "slots": slots,
        "seconds": rounded(seconds),
        "tokens_per_second": rounded(table.tokens / seconds),
        "responses_per_second": rounded(table.responses / seconds),
        "projected_responses": round(GAMES * ROUNDS),
        "projected_minutes": rounded(projected_minutes(table.responses / seconds)),
        **peak(loaded.device),
    }


def projected_minutes(responses_per_second: float) -> float:
    """Minutes for all games at a measured rate, with the mean number of rounds."""
    return GAMES * ROUNDS / responses_per_second / 60


def config_of(loaded: LoadedModel, settings: Settings, limit: int) -> EngineConfig:
    """An engine of as many rows as the memory holds, and no wider than they need.

    Padding costs time, and two batches that take turns let the host read while the device computes.
    """
    cuda = loaded.device.type == "cuda"
    batches = settings.engine.get("micro_batches", 2 if cuda else 1)
    config = EngineConfig(
        width=settings.width,
        prompt_capacity=PROMPT_CAPACITY,
        token_capacity=limit,
        **settings.engine | {"micro_batches": batches},
    )
    slots = settings.slots
    if slots is None and cuda:
        fit = fitting_slots(loaded.spec, config, loaded.dtype, usable_bytes(loaded.device, None))
        slots = fit // 64 * 64 or fit
    slots = min(slots or batches * settings.width, settings.games)
    return replace(config, slots=slots, width=min(settings.width, -(-slots // batches // 32) * 32))
