"""Every kind of table a study can hold, column by column.

`SCHEMAS` maps a kind's name to its Arrow schema, `KINDS` to its full description. The document
made by `schema_docs` is written from here, so it cannot disagree with the files.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from pitboss.errors import BadInput
from pitboss.store.columns import Kind
from pitboss.store.schemas_games import ACTIVATIONS, DECISIONS, GAMES
from pitboss.store.schemas_pathway import (
    ATTRIBUTION,
    DECODABILITY,
    LENS,
    PATHWAY,
    PATHWAY_CURVE,
)
from pitboss.store.schemas_persistent import PERSISTENT, PERSISTENT_CONTRASTS, PERSISTENT_EFFECTS
from pitboss.store.schemas_results import (
    EFFECTS,
    FINDINGS,
    TOKENS,
    TRIALS,
    WORDS,
)
from pitboss.store.schemas_screening import RANKING, SCREENING
from pitboss.store.schemas_statistics import ADJUSTMENTS, FEATURES, STATISTICS, SUMS
from pitboss.store.schemas_words import CONTEXTS, DESCRIPTIONS

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        GAMES,
        DECISIONS,
        ACTIVATIONS,
        SUMS,
        ADJUSTMENTS,
        STATISTICS,
        FEATURES,
        SCREENING,
        RANKING,
        TRIALS,
        EFFECTS,
        FINDINGS,
        WORDS,
        TOKENS,
        PATHWAY,
        PATHWAY_CURVE,
        DECODABILITY,
        LENS,
        ATTRIBUTION,
        PERSISTENT,
        PERSISTENT_EFFECTS,
        PERSISTENT_CONTRASTS,
        CONTEXTS,
        DESCRIPTIONS,
    )
}
SCHEMAS: dict[str, pa.Schema] = {name: kind.schema for name, kind in KINDS.items()}


def register(kind: Kind) -> Kind:
    """Make a kind of table known that is declared beside the experiment which makes it.

    Raises:
        BadInput: Another kind has that name.
    """
    if KINDS.setdefault(kind.name, kind) != kind:
        raise BadInput(f"There is another table kind {kind.name!r}.", where="store schemas")
    SCHEMAS[kind.name] = kind.schema
    return kind


def kind_of(name: str) -> Kind:
    """Returns the kind of that name, or raises BadInput listing the known ones."""
    if name not in KINDS:
        raise BadInput(f"No table kind {name!r}; known kinds: {', '.join(KINDS)}.")
    return KINDS[name]


def table_of(name: str, rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pa.Table:
    """Builds a table of a kind from dicts or a DataFrame; absent nullable columns become null.

    In a DataFrame NaN in a nullable column means null, as pandas has it.

    Raises:
        BadInput: A value does not fit its column's type, or a column is unknown or missing.
    """
    kind = kind_of(name)
    frame = rows if isinstance(rows, pd.DataFrame) else None
    listed = [] if frame is not None else list(rows)
    known = {c.name for c in kind.columns}
    given = {str(k) for k in frame.columns} if frame is not None else {k for r in listed for k in r}
    if given - known:
        raise BadInput(
            f"Unknown columns {sorted(given - known)} for kind {name!r}.",
            where=f"store kind {name}",
        )
    arrays = []
    for column in kind.columns:
        if column.name not in given and not column.nullable and (frame is not None or listed):
            raise BadInput(
                f"Column {column.name!r} is missing: {column.doc}", where=f"store kind {name}"
            )
        try:
            arrays.append(_array(column.name, column.type, frame, listed))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise BadInput(
                f"Values do not fit {column.type}: {error}",
                where=f"column {column.name} of kind {name}",
            ) from error
    return pa.Table.from_arrays(arrays, names=[c.name for c in kind.columns])


def _array(
    name: str, type: pa.DataType, frame: pd.DataFrame | None, rows: list[Mapping[str, Any]]
) -> pa.Array:
    if frame is None:
        return pa.array([row.get(name) for row in rows], type=type)
    if name not in frame.columns:
        return pa.nulls(len(frame), type=type)
    made = pa.array(frame[name], type=type, from_pandas=True)
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made


def schema_docs() -> str:
    """Describes every kind and column as markdown."""
    lines = ["# Tables of a study", ""]
    for kind in KINDS.values():
        lines += [f"## {kind.name}", "", kind.doc, ""]
        lines += [f"Sorted by and unique in: {', '.join(kind.primary)}."]
        lines += ["", "| column | type | may be empty | meaning |", "|---|---|---|---|"]
        lines += [
            f"| `{c.name}` | {c.type} | {'yes' if c.nullable else 'no'} | {c.doc} |"
            for c in kind.columns
        ]
        lines.append("")
    return "\n".join(lines)
