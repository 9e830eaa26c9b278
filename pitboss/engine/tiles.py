"""Rows that share a prompt, cut into tiles whose keys are read once."""

from collections.abc import Sequence
from typing import NamedTuple


class Tiles(NamedTuple):
    """Stretches of a list of slots, each of slots with the same prompt.

    Attributes:
        order: Slots that have a row, prompt by prompt.
        place: Where each tile's prompt lies.
        start, rows: Which stretch of `order` each tile is.
    """

    order: list[int]
    place: list[int]
    start: list[int]
    rows: list[int]


def tiles_of(places: Sequence[int | None], most: int) -> Tiles:
    """Tiles of at most `most` rows, given where each slot's prompt lies (None: an idle slot)."""
    by_place: dict[int, list[int]] = {}
    for slot, place in enumerate(places):
        if place is not None:
            by_place.setdefault(place, []).append(slot)
    tiles = Tiles([], [], [], [])
    for place, slots in sorted(by_place.items()):
        for at in range(0, len(slots), most):
            tiles.place.append(place)
            tiles.start.append(len(tiles.order) + at)
            tiles.rows.append(min(most, len(slots) - at))
        tiles.order.extend(slots)
    return tiles
