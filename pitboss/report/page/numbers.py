"""Numbers that say where they come from: the file, which of its rows, what is counted."""

from collections.abc import Callable
from typing import Any, NamedTuple

from markupsafe import Markup

from pitboss import formats
from pitboss.report.page.phrases import in_korean
from pitboss.report.page.strings import said

NONE = "–"


class Number(NamedTuple):
    """One number of the page.

    Attributes:
        key: Its name on the page: the attribute data-number.
        value: As it was computed.
        shown: As it is read.
        file: File of the study's folder.
        rows: Which of the rows, as pandas' `query` takes it; a path into a JSON file.
        counted: What is done with the rows.
    """

    key: str
    value: Any
    shown: str
    file: str
    rows: str
    counted: str


class Ledger:
    """All numbers that were put on the page, in their order.

    Args:
        files: What the study calls a file, by the name that the first of a kind has.
    """

    def __init__(self, files: Callable[[str], str]) -> None:
        self.numbers: dict[str, Number] = {}
        self._files = files

    def put(
        self, key: str, value: Any, file: str, rows: str = "", counted: str = "rows", text: str = ""
    ) -> Markup:
        """Remembers a number and returns it as it stands in a sentence, as `text` if given."""
        file = self._files(file)
        number = Number(key, value, text or shown(value), file, rows, counted)
        known = self.numbers.setdefault(key, number)
        assert known == number, f"two numbers are called {key}"
        exact = repr(value) if isinstance(value, float) else str(value)
        titles = (
            " · ".join(part for part in (file, rows, how) if part)
            for how in (counted, in_korean(counted) or counted)
        )
        return Markup(
            '<span class="num" data-number="{}" data-value="{}" title="{}" data-ko="{}">{}</span>'
        ).format(key, exact, *titles, number.shown)


def shown(value: Any) -> str:
    """A number as a person reads it; a dash for none."""
    return formats.number(value, NONE)


def percent(share: float | None) -> str:
    """A share as percent; a dash for none."""
    return formats.percent(share, none=NONE)


def interval(low: float | None, high: float | None) -> str:
    """The interval of a share; a dash for none."""
    return formats.between(low, high, none=NONE)


def seconds(value: float | None) -> Markup | str:
    """A duration: 1 h 5 min, 3 min 22 s, 4.2 s."""
    if value is None:
        return NONE
    if value < 60:
        return said("duration.seconds", seconds=f"{value:.1f}")
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return said("duration.hours", hours=hours, minutes=minutes)
    return said("duration.minutes", minutes=minutes, seconds=rest)
