"""Conditions on rows, such as `layer=3` or `q<0.05`: compared with values, never evaluated."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pitboss.errors import BadInput

_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_TESTS = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_FLAGS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Where:
    """One condition: a column, how it is compared, and with what.

    Attributes:
        column: Name of the column.
        test: = (or ==), !=, <, <=, >, >=, or ~ for text that contains it.
        value: What it is compared with, as text; `null` (with = or !=) for empty.
    """

    column: str
    test: str
    value: str

    @classmethod
    def parse(cls, text: str) -> "Where":
        """`q<0.05` -> its parts.

        Raises:
            BadInput: It is no condition.
        """
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise BadInput(
                f"{text!r} is no condition.",
                where="--where",
                next="Write COLUMN, one of = != < <= > >= ~ and a value, such as 'q<0.05'.",
            )
        return cls(*match.groups())

    def keep(self, table: pa.Table) -> pa.Table:
        """The rows that meet it; empty cells meet only `=null`.

        Raises:
            BadInput: The table has no such column, or the value does not fit it.
        """
        if self.column not in table.column_names:
            raise BadInput(
                f"There is no column {self.column!r}.",
                where="--where",
                next=f"Columns: {', '.join(table.column_names)}.",
            )
        column = table.column(self.column)
        if self.value == "null" and self.test in ("=", "==", "!="):
            empty = pc.is_null(column)
            return table.filter(pc.invert(empty) if self.test == "!=" else empty)
        if self.test == "~":
            if not pa.types.is_string(column.type):
                raise self._does_not_fit(column.type)
            return table.filter(pc.match_substring(column, self.value, ignore_case=True))
        return table.filter(_TESTS[self.test](column, self._typed(column.type)))

    def _typed(self, type: pa.DataType) -> Any:
        try:
            if pa.types.is_boolean(type):
                return pa.scalar(_FLAGS[self.value.lower()])
            if pa.types.is_integer(type):
                return pa.scalar(int(self.value))
            if pa.types.is_floating(type):
                return pa.scalar(float(self.value))
        except (KeyError, ValueError) as error:
            raise self._does_not_fit(type) from error
        return pa.scalar(self.value)

    def _does_not_fit(self, type: pa.DataType) -> BadInput:
        return BadInput(
            f"The value {self.value!r} cannot be compared ({self.test}) with the column "
            f"{self.column}, which holds {type}.",
            where="--where",
        )


def keep(table: pa.Table, conditions: Sequence[str]) -> pa.Table:
    """The rows that meet all conditions."""
    for condition in conditions:
        table = Where.parse(condition).keep(table)
    return table
