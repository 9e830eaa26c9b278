"""Which prompt conditions an experiment plays."""

from typing import Literal

from pitboss.games.conditions import ALL_CONDITIONS, Condition
from pitboss.games.prompts import PROMPTS

ConditionGroup = Literal["all", "fixed", "variable"]


def conditions_of(keys: ConditionGroup | list[str]) -> tuple[Condition, ...]:
    if isinstance(keys, str):
        return tuple(c for c in ALL_CONDITIONS if keys in ("all", c.bet_type))
    return tuple(Condition.parse(key) for key in keys)


def prompt_exists_for(prompt: str, conditions: tuple[Condition, ...]) -> None:
    kind = PROMPTS[prompt]
    if not all(kind.exists_for(condition) for condition in conditions):
        known = ", ".join(sorted(kind.conditions or ()))
        one = "condition" if len(kind.conditions or ()) == 1 else "conditions"
        raise ValueError(f"prompt {prompt} exists for the {one} {known} only")
