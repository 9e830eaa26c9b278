"""Pieces of what a person reads in a terminal: tables made with rich, and numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

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


def duration(seconds: float | None) -> str:
    """`5,400` -> `1 h 30 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"


def interval(value: Any, low: Any, high: Any, shown: str = "{:+.2f}") -> str:
    """`-0.35 [-0.51, -0.16]`; empty where there is no value."""
    if value is None or pd.isna(value):
        return ""
    ends = "" if pd.isna(low) else f" [{shown.format(low)}, {shown.format(high)}]"
    return shown.format(value) + ends


def share_of(events: Any, n: Any, value: Any) -> str:
    """`18/20` for a share, `0.35 of 20` for a mean, `-/0` for neither."""
    if pd.isna(value):
        return f"-/{n}"
    return f"{value:.2f} of {n}" if pd.isna(events) else f"{int(events)}/{n}"


def p_value(value: Any) -> str:
    """A p or q; empty for none."""
    if value is None or pd.isna(value):
        return ""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _counted(cell: Any) -> bool:
    return isinstance(cell, str) and cell[:1].isdigit() and "/" not in cell[:2]


def _cell(value: Any) -> Text:
    if value is None or (isinstance(value, float) and pd.isna(value)) or value is pd.NA:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float):
        return Text(f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}")
    if isinstance(value, int):
        return Text(f"{value:,}")
    text = str(value)
    return Text(text, style=COLOURS.get(text, ""))


def spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    """An empty line between each two."""
    return [piece for part in parts for piece in (part, Text(""))][:-1]
