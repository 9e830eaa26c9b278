"""Tables as files for other programs, below the study's own folder."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pitboss.api.results import Results
from pitboss.api.where import conditions
from pitboss.errors import BadInput
from pitboss.report.reader import plain_rows, to_frame
from pitboss.store import KINDS

FOLDER = "exports"
FORMATS = ("csv", "parquet", "json")


def export(
    results: Results,
    kind: str,
    format: str = "csv",
    *,
    where: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    name: str | None = None,
) -> Path:
    """Write a table, or some rows of it, to `<study>/exports/`.

    Args:
        kind: A kind of docs/schema.md.
        format: csv (empty cells are empty), parquet (with types), json (a list of rows, null for
            empty).
        where: Conditions that rows must meet, all of them, such as `layer=3` or `q<0.05`.
        columns: Columns to write, in this order; all if None.
        name: Name of the file; the kind and the format if None.

    Returns:
        The file, replaced in one step if it was there.

    Raises:
        BadInput: No such kind, format, column or condition, or the name leads elsewhere.
        Incomplete: The table is not there; names the experiment that makes it.
    """
    data = exported(results, kind, format, where=where, columns=columns)
    given = name or f"{kind}.{format}"
    if "/" in given or "\\" in given or given.startswith("."):
        raise BadInput(
            f"{given!r} is no file's name.",
            where=f"{results.path}/{FOLDER}",
            next="Exports lie in this folder; give a plain name, or copy the file from there.",
        )
    return results.store.write_bytes(f"{FOLDER}/{given}", data)


def exported(
    results: Results,
    kind: str,
    format: str,
    *,
    where: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> bytes:
    """The bytes of an export; arguments and errors are those of `export`."""
    if format not in FORMATS:
        raise BadInput(f"No format {format!r}.", next=f"Use one of {', '.join(FORMATS)}.")
    results.require(kind)
    results.require_columns(kind, columns or ())
    found = results.read(kind, columns, conditions(where, KINDS[kind].schema))
    return _encoded(found, format)


def _encoded(table: pa.Table, format: str) -> bytes:
    buffer = io.BytesIO()
    if format == "csv":
        pa_csv.write_csv(table, buffer)
    elif format == "parquet":
        pq.write_table(table, buffer, compression="zstd")
    else:
        rows = plain_rows(to_frame(table))
        buffer.write(json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False).encode())
    return buffer.getvalue()
