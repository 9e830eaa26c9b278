"""Which games of the pathway count: the first in order of play that fill each quota."""

from collections.abc import Iterable
from typing import NamedTuple

from pitboss.experiments.pathway.settings import PathwaySettings
from pitboss.games.conditions import Condition
from pitboss.games.outcomes import Outcome


class Batch(NamedTuple):
    """Games that are played together.

    Attributes:
        ids: Condition and repetition of each.
        room: Outcome -> games still wanted before this batch.
    """

    ids: list[tuple[Condition, int]]
    room: dict[str, int]


def wanted(settings: PathwaySettings) -> dict[str, int]:
    """Outcome -> games that are to end so."""
    return {
        str(Outcome.BANKRUPTCY): settings.bankruptcies,
        str(Outcome.VOLUNTARY_STOP): settings.stops,
    }


def batch_of(settings: PathwaySettings, number: int, room: dict[str, int]) -> Batch:
    """The games of one batch; those of all batches take the conditions in turn."""
    first = number * settings.batch
    last = min(first + settings.batch, settings.max_games)
    return Batch(_in_turn(settings, range(first, last)), dict(room))


def _in_turn(settings: PathwaySettings, numbers: range) -> list[tuple[Condition, int]]:
    """Condition and repetition of games by their place in the order of play."""
    conditions = settings.resolved_conditions
    return [(conditions[n % len(conditions)], n // len(conditions)) for n in numbers]


def game_key(alias: str, condition: Condition, repetition: int) -> str:
    """Name of a game; it is part of the game's luck."""
    return f"{alias}/pathway/{condition.key}/{repetition:04d}"


def first_of_each(games: Iterable[tuple[str, str]], room: dict[str, int]) -> set[str]:
    """Keys of the games (key, outcome) that find room, in the order given."""
    left = dict(room)
    counted = set()
    for key, outcome in games:
        if left.get(outcome, 0) > 0:
            left[outcome] -= 1
            counted.add(key)
    return counted


def counting(settings: PathwaySettings, games: Iterable[tuple[str, str]]) -> set[str]:
    """Keys of the games (key, outcome) that fill the quotas, over all batches in order of play."""
    order = _in_turn(settings, range(settings.max_games))
    place = {game_key(settings.model, *game): n for n, game in enumerate(order)}
    return first_of_each(sorted(games, key=lambda game: place[game[0]]), wanted(settings))
