"""What the gambler says at the real prompts: the text that the tiny models learn from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from random import Random

from pitboss.games.conditions import ALL_CONDITIONS, Condition
from pitboss.games.prompts import Round, Rules, State, render
from training.gambler import (
    Move,
    Situation,
    decide,
    single_choice_log_odds,
    situation_of,
    stop_log_odds,
)

# Share of each kind of prompt. The Exp2 scenes are fixed texts; half of their share goes to
# varied histories in the same wording, so that the models read the scene and do not recite it.
_SHARES = {"planned": 0.64, "role": 0.07, "exp5": 0.05, "scene": 0.12, "varied_scene": 0.12}

_SCENE_COMPONENTS = "GRWP"  # what the wording of the Exp2 scenes contains
_SCENE_HIGHEST = 100
_PRESSED_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Transcript:
    """One prompt and the gambler's response."""

    prompt: str
    response: str


def transcripts(count: int, seed: int) -> list[Transcript]:
    """Draws transcripts over all prompts; the same seed gives the same list."""
    rng = Random(seed)
    sources = {
        "planned": _games("exp0/planned", ALL_CONDITIONS, rng),
        "role": _games("exp0/role", ALL_CONDITIONS, rng),
        "exp5": _games("exp5/original", (Condition("", "variable"),), rng),
        "scene": _scenes(rng),
        "varied_scene": _varied_scenes(rng),
    }
    kinds = rng.choices(list(_SHARES), weights=list(_SHARES.values()), k=count)
    return [next(sources[kind]) for kind in kinds]


def _games(prompt: str, conditions: tuple[Condition, ...], rng: Random) -> Iterator[Transcript]:
    """Endless games in random conditions, one transcript per decision.

    In a third of the games he is made to play on whenever he wants to stop: what he answers
    stays his own, but the poor and the late states, where small models err, are seen more often.
    """
    while True:
        state = State(rng.choice(conditions), Rules().start)
        pressed = rng.random() < 1 / 3
        while state.balance >= Rules().min_bet and len(state.rounds) < Rules().max_rounds:
            situation = situation_of(state)
            move = decide(situation, stop_log_odds(situation), rng)
            yield Transcript(render(prompt, state).text, _final_decision(move))
            amount = move.amount
            if amount is None and pressed and len(state.rounds) < _PRESSED_ROUNDS:
                amount = decide(situation, -inf, rng).amount
            if amount is None:
                break
            state = after(state, amount, rng.random() < state.rules.win_rate)


def after(state: State, bet: int, won: bool) -> State:
    """The state one round later."""
    balance = state.balance - bet + (int(bet * state.rules.payout) if won else 0)
    played = Round(len(state.rounds) + 1, bet, won, balance)
    return State(state.condition, balance, (*state.rounds, played), state.rules)


def _scenes(rng: Random) -> Iterator[Transcript]:
    """The two Exp2 prompts, letter for letter."""
    scenes = {
        "exp2/safe": Situation(140, 0, 3, _SCENE_COMPONENTS, variable=False),
        "exp2/risky": Situation(20, 2, 3, _SCENE_COMPONENTS, variable=True),
    }
    while True:
        name = rng.choice(list(scenes))
        yield Transcript(render(name).text, _choice(scenes[name], rng))


def _varied_scenes(rng: Random) -> Iterator[Transcript]:
    """The wording of the Exp2 prompts around other histories and balances."""
    while True:
        variable = rng.random() < 0.5
        condition = Condition(_SCENE_COMPONENTS, "variable" if variable else "fixed")
        state = State(condition, Rules().start)
        for _ in range(rng.randint(1, 5)):
            bet = rng.choice([10, 20, 30, 50]) if variable else Rules().fixed_bet
            if bet < state.balance:
                state = after(state, bet, rng.random() < state.rules.win_rate)
        if state.rounds:
            situation = replace(situation_of(state), highest_bet=_SCENE_HIGHEST)
            yield Transcript(scene_text(state), _choice(situation, rng))


def scene_text(state: State) -> str:
    """An Exp2 prompt with this state's history, made by editing the registered text."""
    variable = state.condition.bet_type == "variable"
    text = render("exp2/risky" if variable else "exp2/safe").text
    history = "".join(
        f"Round {r.number}: Bet ${r.bet}, {'Win' if r.won else 'Loss'}, Balance ${r.balance}\n"
        for r in state.rounds
    )
    head, rest = text.split("Round 1:", 1)
    _, rest = rest.split("Current balance:", 1)
    text = f"{head}{history}Current balance:{rest}"
    text = re.sub(r"Current balance: \$\d+", f"Current balance: ${state.balance}", text)
    return text.replace("Current round: 4", f"Current round: {len(state.rounds) + 1}")


def _final_decision(move: Move) -> str:
    decision = "Stop" if move.amount is None else f"Bet ${move.amount}"
    return f"{move.words}\nFinal Decision: {decision}"


def _choice(situation: Situation, rng: Random) -> str:
    move = decide(situation, single_choice_log_odds(situation), rng)
    if move.amount is None:
        option = rng.choice(["2", "2) Stop"])
    elif situation.variable:
        option = rng.choice(["1, ${}", "1) Bet ${}"]).format(move.amount)
    else:
        option = rng.choice(["1", "1) Bet $10"])
    return f"{option}\n{move.words}"
