"""Pieces of what a person reads in a terminal: tables made with rich."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pitboss.formats import number

COLOURS = {
    "complete": "green",
    "working": "cyan",
    "gained": "green",
    "lost": "red",
    "turned": "magenta",
    "stop": "blue",
    "bet": "red",
}


def table(
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame, title: str = "", left: Sequence[str] = ()
) -> Table:
    """Rows as a table; numbers stand right.

    Args:
        left: Columns that stand left though their first cell looks like a number.
    """
    listed = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else list(rows)
    made = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    names = list(listed[0]) if listed else ["nothing"]
    for name in names:
        cells = [row[name] for row in listed]
        number = any(isinstance(cell, int | float) or _counted(cell) for cell in cells)
        text = name in left or not number
        made.add_column(str(name), justify="left" if text else "right", overflow="fold")
    for row in listed:
        made.add_row(*(_cell(row[name]) for name in names))
    return made


def _counted(cell: Any) -> bool:
    return isinstance(cell, str) and cell[:1].isdigit() and "/" not in cell[:2]


def _cell(value: Any) -> Text:
    text = number(value)
    return Text(text, style=COLOURS.get(text, ""))


def spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    """An empty line between each two."""
    return [piece for part in parts for piece in (part, Text(""))][:-1]
