"""What a table of the store looks like: kinds, their columns, and what makes a row unique."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pitboss.errors import BadInput


@dataclass(frozen=True)
class Column:
    """One column of a kind.

    Attributes:
        name: The column's name.
        type: Its Arrow type; values are cast to it only without loss.
        doc: What it says, with its unit. Kept in the file itself as field metadata.
        nullable: True where "does not apply" or "not evaluable" is a possible answer. NaN never is.
    """

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class Kind:
    """One type of table: what a row is, its columns and the columns that name a row.

    Attributes:
        name: The kind's name, also its folder.
        doc: What one row is.
        columns: All columns in file order.
        primary: Columns whose values together are unique and by which rows are sorted.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    primary: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, each field with its doc in the metadata."""
        return pa.schema(
            [
                pa.field(c.name, c.type, nullable=c.nullable, metadata={"doc": c.doc})
                for c in self.columns
            ]
        )


def required(name: str, type: pa.DataType, doc: str) -> Column:
    """A column that every row fills."""
    return Column(name, type, doc)


def optional(name: str, type: pa.DataType, doc: str) -> Column:
    """A column that may be null; its doc says when."""
    return Column(name, type, doc, nullable=True)


def conform(kind: Kind, table: pa.Table) -> pa.Table:
    """Returns the table in the kind's column order and types, sorted by its primary columns.

    Raises:
        BadInput: A column is missing or unknown, a value does not fit its type without loss, a
            value is null or not finite where the kind does not allow it, or two rows share their
            primary columns.
    """
    _same_names(kind, table.column_names)
    columns = [_cast(kind, c, table.column(c.name).combine_chunks()) for c in kind.columns]
    sorted_table = pa.Table.from_arrays(columns, schema=kind.schema).sort_by(
        [(name, "ascending") for name in kind.primary]
    )
    unique_rows(kind, sorted_table)
    return sorted_table.combine_chunks()


def unique_rows(kind: Kind, table: pa.Table) -> None:
    """Raises BadInput when two rows share the kind's primary columns."""
    names = list(kind.primary)
    counts = table.select(names).group_by(names).aggregate([([], "count_all")])
    if counts.num_rows == table.num_rows:
        return
    twice = next(row for row in counts.to_pylist() if row["count_all"] > 1)
    number = twice.pop("count_all")
    raise BadInput(
        f"{number} rows of kind {kind.name!r} share {twice}.",
        where=f"primary columns {', '.join(kind.primary)}",
        next="Each row needs its own key; look for the step that wrote it twice.",
    )


def _same_names(kind: Kind, names: Sequence[str]) -> None:
    wanted = [c.name for c in kind.columns]
    missing = [n for n in wanted if n not in names]
    unknown = [n for n in names if n not in wanted]
    if missing or unknown or len(set(names)) != len(names):
        raise BadInput(
            f"The table does not have the columns of kind {kind.name!r}: "
            f"missing {missing or 'none'}, unknown {unknown or 'none'}.",
            where=f"store kind {kind.name}",
            next="Fill every column; null only where the schema allows it.",
        )


def _cast(kind: Kind, column: Column, array: Any) -> Any:
    where = f"column {column.name} of kind {kind.name}"
    try:
        cast = array.cast(column.type, safe=not pa.types.is_floating(column.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(
            f"Values of type {array.type} do not fit {column.type}: {error}", where=where
        ) from error
    if cast.null_count and not column.nullable:
        raise BadInput(
            f"{cast.null_count} of {len(cast)} values are null.",
            where=where,
            next="This column is filled in every row; rows without it must not be written.",
        )
    if pa.types.is_floating(column.type):
        _finite(cast, where)
    return cast


def _finite(array: Any, where: str) -> None:
    finite = pa.compute.is_finite(array)
    bad = len(finite) - finite.null_count - (pa.compute.sum(finite).as_py() or 0)
    if bad:
        raise BadInput(
            f"{bad} of {len(array)} values are NaN or infinite.",
            where=where,
            next="A value that cannot be evaluated is null with a reason, never NaN.",
        )
