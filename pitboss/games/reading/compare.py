"""How an original keyword reader and the study's reader see the same responses."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from pitboss.games.menu import Menu
from pitboss.games.reading import Decision, Finish, reader


class Response(NamedTuple):
    """One stored response; ``old`` is a label given at the time, None to run the old reader."""

    prompt: str
    menu: Menu
    text: str
    finish: Finish
    old: Decision | None = None


class Agreement(NamedTuple):
    """One cell of the table: how many of a prompt's responses were read as ``old`` and ``read``."""

    prompt: str
    old: Decision
    read: Decision
    reason: str
    responses: int


def compare(
    responses: Iterable[Response], *, old: str = "original-exp2", new: str = "menu"
) -> list[Agreement]:
    """Cross-tabulate two readers, prompt by prompt.

    Args:
        responses: Stored responses. A row's own ``old`` label goes before the old reader.
        old: Name of the reader whose conclusions stand in the ``old`` column.
        new: Name of the reader to compare it with.

    Returns:
        The non-empty cells, sorted by prompt, old and new decision; ``reason`` tells cells
        without a decision apart and is empty otherwise. Per prompt the counts add up to the
        number of its responses.

    Raises:
        BadInput: Unknown reader name.
    """
    was, now = reader(old), reader(new)
    cells: Counter[tuple[str, Decision, Decision, str]] = Counter()
    for response in responses:
        before = response.old or was.read(response.text, response.menu, response.finish).decision
        after = now.read(response.text, response.menu, response.finish)
        reason = (after.reason or "") if after.decision == "none" else ""
        cells[response.prompt, before, after.decision, reason] += 1
    return [Agreement(*cell, count) for cell, count in sorted(cells.items())]
