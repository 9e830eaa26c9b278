"""Conditions on rows, such as `layer=3` or `q<0.05`: compared with values, never evaluated."""

import operator
import re
from collections.abc import Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pitboss.errors import BadInput

_CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_TESTS = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FLAGS = {"true": True, "yes": True, "false": False, "no": False}


def conditions(texts: Sequence[str], schema: pa.Schema) -> pc.Expression | None:
    """Rows of a table that meet all conditions; None if there are none.

    A condition is a column, = (or ==), !=, <, <=, >, >=, or ~ for text that contains it, and a
    value; `null` (with = or !=) for empty. Empty cells meet only `=null`.

    Raises:
        BadInput: One is no condition, the table has no such column, or the value does not fit it.
    """
    met = [_condition(text, schema) for text in texts]
    return reduce(operator.and_, met) if met else None


def _condition(text: str, schema: pa.Schema) -> pc.Expression:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise BadInput(
            f"{text!r} is no condition.",
            where="--where",
            next="Write COLUMN, one of = != < <= > >= ~ and a value, such as 'q<0.05'.",
        )
    name, test, value = match.groups()
    if name not in schema.names:
        raise BadInput(
            f"There is no column {name!r}.",
            where="--where",
            next=f"Columns: {', '.join(schema.names)}.",
        )
    column, kind = pc.field(name), schema.field(name).type
    if value == "null" and test in ("=", "==", "!="):
        return ~column.is_null() if test == "!=" else column.is_null()
    try:
        if test == "~":
            if not pa.types.is_string(kind):
                raise ValueError("only text contains text")
            return pc.match_substring(column, value, ignore_case=True)
        return _TESTS[test](column, _typed(value, kind))
    except (KeyError, ValueError) as error:
        raise BadInput(
            f"The value {value!r} cannot be compared ({test}) with the column {name}, which holds "
            f"{kind}.",
            where="--where",
        ) from error


def _typed(value: str, kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return _FLAGS[value.lower()]
    if pa.types.is_integer(kind):
        return int(value)
    return float(value) if pa.types.is_floating(kind) else value
