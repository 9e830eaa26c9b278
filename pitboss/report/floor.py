"""The room that others leave on each GPU over time."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from pitboss.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
    canvas,
    empty,
    picture,
    title,
)

COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW, INK)
MOST_POINTS = 500


def room_picture(
    history: Sequence[tuple[datetime, Mapping[int, int]]], limits: Sequence[int]
) -> bytes:
    """Free memory of each GPU over time as PNG, with the limits of the headroom.

    Args:
        history: Time and bytes by the GPU's index, oldest first; thinned to what an eye can see.
        limits: Room in bytes at which pools are paused and opened again; empty: not drawn.
    """
    figure, (axis,) = canvas(7, 2.8)
    dashed = "; dashed: pause below, open again above" if limits else ""
    title(axis, "Room that others leave", f"GB by GPU{dashed}")
    if len(history) < 2:
        empty(axis, "the history begins with this look")
        return picture(figure)
    every = -(-len(history) // MOST_POINTS)
    points = [*history[:-1:every], history[-1]]
    for place, index in enumerate(sorted({gpu for _, room in points for gpu in room})):
        line = [(when, room[index] / 1e9) for when, room in points if index in room]
        axis.step(*zip(*line, strict=True), where="post", lw=1.6,
                  color=COLOURS[place % len(COLOURS)], label=f"{index}")  # fmt: skip
    for limit in limits:
        axis.axhline(limit / 1e9, color=GREY, lw=0.9, ls="--")
    axis.set_ylim(bottom=0)
    axis.legend(title="GPU", fontsize=8, title_fontsize=8, frameon=False, ncols=1,
                loc="center left", bbox_to_anchor=(1, 0.5))  # fmt: skip
    ticks = AutoDateLocator(maxticks=8)
    axis.xaxis.set_major_locator(ticks)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(ticks))
    return picture(figure)
