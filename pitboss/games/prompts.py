"""The registry of prompts, and the only place that formats one.

Their texts are in `pitboss.games.wording`. Changing one letter means a new version number here.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pitboss.errors import BadInput
from pitboss.games.conditions import ALL_CONDITIONS, BetType, Condition
from pitboss.games.menu import Menu
from pitboss.games.state import Round, Rules, State
from pitboss.games.wording import (
    exp0_planned,
    exp0_role,
    exp2_risky,
    exp2_safe,
    exp5_original,
    scene_of_state,
)


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt and the menu under which its response is to be read."""

    name: str
    version: int
    text: str
    menu: Menu


@dataclass(frozen=True)
class PromptType:
    """A registered prompt.

    Args:
        version: Raised whenever a letter changes.
        needs_state: False for the fixed scenes of Exp2, which carry their own state.
        build: Turns a state into text and menu.
        conditions: Keys of the conditions that it exists for; all if None.
    """

    name: str
    version: int
    needs_state: bool
    build: Callable[[State], tuple[str, Menu]]
    conditions: frozenset[str] | None = None

    def exists_for(self, condition: Condition) -> bool:
        """Whether the text fits a game in this condition."""
        return self.conditions is None or condition.key in self.conditions

    @property
    def fullest(self) -> Condition:
        """The condition of the longest text: variable bets and the most components."""
        there = [c for c in ALL_CONDITIONS if c.bet_type == "variable" and self.exists_for(c)]
        return max(there, key=lambda c: len(c.components))


_SCENE_CONDITIONS = frozenset({"fixed/GRWP", "variable/GRWP"})  # what the wording says

PROMPTS: dict[str, PromptType] = {
    p.name: p
    for p in (
        PromptType("exp0/planned", 1, True, exp0_planned),
        PromptType("exp0/role", 1, True, exp0_role),
        PromptType("exp2/safe", 1, False, exp2_safe),
        PromptType("exp2/risky", 1, False, exp2_risky),
        PromptType("exp2/game", 1, True, scene_of_state, _SCENE_CONDITIONS),
        PromptType("exp5/original", 1, True, exp5_original, frozenset({"variable/BASE"})),
    )
}

_NO_STATE = State(Condition("", "fixed"), 0)


def render(name: str, state: State | None = None) -> Prompt:
    """Build a registered prompt.

    Args:
        name: A key of ``PROMPTS``.
        state: The player's state; required by the prompts that show one, refused by the others.

    Raises:
        BadInput: Unknown name, or a state that is missing, superfluous or beyond any bet.
    """
    if name not in PROMPTS:
        raise BadInput(
            f"There is no prompt {name!r}.",
            where="prompt",
            next=f"Use one of {', '.join(sorted(PROMPTS))}.",
        )
    kind = PROMPTS[name]
    if kind.needs_state != (state is not None):
        raise BadInput(
            f"Prompt {name} {'needs a state' if kind.needs_state else 'carries its own state'}.",
            where=f"prompt {name}",
            next="Pass the player's state." if kind.needs_state else "Pass no state.",
        )
    if state is not None and state.balance < 1:
        raise BadInput(
            f"A player with ${state.balance} decides nothing.",
            where=f"prompt {name}",
            next="Render prompts for games that still run.",
        )
    if state is not None and not kind.exists_for(state.condition):
        known = ", ".join(sorted(kind.conditions or ()))
        raise BadInput(
            f"Prompt {name} exists for {known} only, not {state.condition.key}.",
            where=f"prompt {name}",
            next=f"Use a condition of {known}, or the prompt exp0/planned.",
        )
    text, menu = kind.build(state or _NO_STATE)
    return Prompt(name, kind.version, text, menu)


def _reference_states(bet_types: Iterable[BetType]) -> list[State]:
    """Per condition the first decision, one after a win and one after four losses."""
    won = (Round(1, 10, True, 120),)
    lost = tuple(Round(n, 10, False, 100 - 10 * n) for n in range(1, 5))
    wanted = set(bet_types)
    return [
        State(condition, balance, rounds)
        for condition in ALL_CONDITIONS
        if condition.bet_type in wanted
        for balance, rounds in ((100, ()), (120, won), (60, lost))
    ]


def prompt_set_hash(names: Iterable[str]) -> str:
    """Sixteen hex digits that change when any text or version of the named prompts changes.

    The hash covers each prompt as rendered in every condition it exists for, at the first
    decision, after a win and after four losses. Order and repetition of ``names`` do not matter.
    """
    content: dict[str, object] = {}
    for name in sorted(set(names)):
        if name in PROMPTS and PROMPTS[name].needs_state:
            states = _reference_states(["fixed", "variable"])
            states = [s for s in states if PROMPTS[name].exists_for(s.condition)]
            texts = [render(name, state).text for state in states]
        else:
            texts = [render(name).text]
        content[name] = {"version": PROMPTS[name].version, "texts": texts}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


__all__ = [
    "PROMPTS",
    "Prompt",
    "PromptType",
    "Round",
    "Rules",
    "State",
    "prompt_set_hash",
    "render",
]
