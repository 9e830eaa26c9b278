"""Scenes in which a patched model decides: the two original ones, and generated states.

`exp2/safe` and `exp2/risky` are fixed texts, one state each. `exp2/states` is a set: its state
number 7, `exp2/states/0007`, is what the slot machine itself leaves after zero to five rounds of a
player who bets at random, so every balance adds up. The text is worded as the two scenes are; a
variable bet may be what the player can pay, at most $100. State n is a function of n alone,
whatever the study and however many are asked for, and no two states have the same text.
"""

import re
from functools import cache
from hashlib import sha256

from pitboss.errors import BadInput
from pitboss.games.conditions import BetType, Condition
from pitboss.games.prompts import PROMPTS, Prompt, State, render
from pitboss.games.reading.reading import Reading
from pitboss.games.slot_machine import SlotMachine, uniform
from pitboss.games.wording import LARGEST_OFFER, scene_of_state

STATES = "exp2/states"
SHARED_PROMPTS = 32
"""Prompts of patched runs whose keys and values are held at a time."""
VERSION = 1
MOST_ROUNDS = 5
_COMPONENTS = "GRWP"  # what the wording of the scenes says
_SEED = 25_092_2818  # of the registry, not of a study: a name means one text everywhere
_LIMIT = 10_000
_BLOCK = 64  # states made at a time


@cache
def scene(name: str) -> Prompt:
    """The prompt of a scene or state by its name.

    Raises:
        BadInput: There is no such scene, or it is a game's prompt.
    """
    number = re.fullmatch(rf"{STATES}/(\d{{4}})", name)
    if number is None:
        return render(name)
    index = int(number[1])
    state = _first(_BLOCK * (index // _BLOCK + 1))[index]
    text, menu = scene_of_state(state)
    return Prompt(name, VERSION, text, menu)


def state_names(start: int, count: int) -> list[str]:
    """Names of the states number start, start + 1, ... of the set."""
    if start + count > _LIMIT:
        raise BadInput(f"The set {STATES} has {_LIMIT:,} states.", where="patching.states")
    return [f"{STATES}/{number:04d}" for number in range(start, start + count)]


def scene_of(name: str) -> str:
    """The scene that a prompt belongs to: the set's name for a state, else its own."""
    return STATES if name.startswith(f"{STATES}/") else name


def texts_hash(names: list[str]) -> str:
    """Sixteen hex digits over the texts of these scenes, in order."""
    texts = "\x1f".join(f"{name}\x1e{scene(name).text}" for name in names)
    return sha256(texts.encode()).hexdigest()[:16]


def fixed_scenes() -> list[str]:
    """Names of the scenes that are one text each."""
    return [p.name for p in PROMPTS.values() if not p.needs_state]


@cache
def _first(count: int) -> tuple[State, ...]:
    """The first states of the set, each text once."""
    found: dict[str, State] = {}
    draw = 0
    while len(found) < count:
        state = _drawn(draw)
        draw += 1
        if state is not None:
            found.setdefault(scene_of_state(state)[0], state)
    return tuple(found.values())


def _drawn(draw: int) -> State | None:
    """The state in which one game waits for a decision; None if it ended before."""
    key = f"{STATES}/{VERSION}/{draw}"
    bet_type: BetType = "variable" if uniform(_SEED, f"{key}/bets", 0) < 0.5 else "fixed"
    rounds = int(uniform(_SEED, f"{key}/rounds", 0) * (MOST_ROUNDS + 1))
    game = SlotMachine(key, Condition(_COMPONENTS, bet_type), _SEED)
    for number in range(rounds):
        state = game.state
        stake = state.rules.fixed_bet
        if bet_type == "variable":
            fives = min(state.balance, LARGEST_OFFER) // 5
            # Small stakes are likelier, so that few games end before their last round.
            stake = 5 * (1 + int(uniform(_SEED, f"{key}/stake", number) ** 2 * fives))
            stake = min(stake, 5 * fives)
        game.step(Reading("bet", stake, None, 0, 0, "scenes"))
        if game.outcome is not None:
            return None
    return game.state
