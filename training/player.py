"""Lets a lab model play, with transformers' own `generate`: an independent, plain player.

The SAEs and the planted features need activations and outcomes of games that the model really
plays. The lab comes before everything else, so it does not use the engine; it also gives the
engine an independent result to be compared with.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from pitboss.games.conditions import Condition
from pitboss.games.menu import Menu
from pitboss.games.prompts import Rules, State, render
from pitboss.games.reading import READERS, Finish, Reading
from pitboss.models.loading import LoadedModel
from training.transcripts import after

Outcome = Literal["bankruptcy", "voluntary_stop", "round_limit", "stuck", "aborted"]

TEMPERATURE, TOP_K, MAX_NEW_TOKENS, RETRIES = 0.7, 50, 48, 3


@dataclass(slots=True)
class Game:
    """One game: where it stands, how it ended, and what was asked and answered.

    Attributes:
        state: The slot machine's state.
        outcome: None while it runs.
        prompts, responses: Token ids of each decision point and of the response taken there.
        invalid: Responses without a decision.
    """

    state: State
    outcome: Outcome | None = None
    prompts: list[list[int]] = field(default_factory=list)
    responses: list[list[int]] = field(default_factory=list)
    invalid: int = 0
    _refused: int = 0

    def prompt(self) -> tuple[str, Menu]:
        """Text and menu of the next decision."""
        prompt = render("exp0/planned", self.state)
        return prompt.text, prompt.menu

    def take(self, reading: Reading, won_draw: float) -> None:
        """Applies a reading; after too many without a decision the game is aborted."""
        if reading.decision == "none" or (reading.decision == "bet" and reading.amount is None):
            self.invalid += 1
            self._refused += 1
            self.outcome = "aborted" if self._refused > RETRIES else None
            return
        self._refused = 0
        if reading.amount is None:
            self.outcome = "voluntary_stop"
            return
        self.state = after(self.state, reading.amount, won_draw < self.state.rules.win_rate)
        if self.state.balance <= 0:
            self.outcome = "bankruptcy"
        elif self.state.balance < Rules().min_bet:
            self.outcome = "stuck"
        elif len(self.state.rounds) >= Rules().max_rounds:
            self.outcome = "round_limit"


def play(
    loaded: LoadedModel, conditions: list[Condition], seed: int, batch: int = 128
) -> list[Game]:
    """Plays one game per list entry, all in step, and returns them finished."""
    games = [Game(State(condition, Rules().start)) for condition in conditions]
    torch.manual_seed(seed)
    while running := [game for game in games if game.outcome is None]:
        asked = [(game, *game.prompt()) for game in running]
        encoded = sorted(
            ((game, loaded.encode(text), menu) for game, text, menu in asked),
            key=lambda item: len(item[1]),
        )
        for start in range(0, len(encoded), batch):
            chunk = encoded[start : start + batch]
            responses = generate(loaded, [ids for _, ids, _ in chunk])
            draws = torch.rand(len(chunk)).tolist()
            for (game, ids, menu), response, draw in zip(chunk, responses, draws, strict=True):
                finish: Finish = "eos" if response[-1] in loaded.eos_ids else "length"
                reading = READERS["menu"].read(loaded.decode(response), menu, finish)
                if reading.decision != "none":
                    game.prompts.append(ids)
                    game.responses.append(response)
                game.take(reading, draw)
    return games


def generate(
    loaded: LoadedModel, prompts: list[list[int]], max_new_tokens: int = MAX_NEW_TOKENS
) -> list[list[int]]:
    """Samples one response per prompt with torch's global generator; the EOS is kept."""
    pad, longest = loaded.tokenizer.pad_token_id, max(len(ids) for ids in prompts)
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    model: Any = loaded.model
    sampled = model.generate(
        input_ids=ids.to(loaded.device),
        attention_mask=mask.to(loaded.device),
        do_sample=True,
        temperature=TEMPERATURE,
        top_k=TOP_K,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(loaded.eos_ids),
        pad_token_id=pad,
    )
    return [_until_eos(row[longest:].tolist(), loaded.eos_ids) for row in sampled]


def _until_eos(ids: list[int], eos_ids: frozenset[int]) -> list[int]:
    for position, token in enumerate(ids):
        if token in eos_ids:
            return ids[: position + 1]
    return ids


def outcomes(games: list[Game]) -> dict[str, int]:
    """How many games ended how."""
    return dict(sorted(Counter(str(game.outcome) for game in games).items()))
