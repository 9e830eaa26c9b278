"""Parquet with bytes that depend on nothing but the rows and the identity.

Fixed compression and level, rows sorted by their primary columns, a fixed row group size, no
time stamps. The same rows written twice, on any machine with the same pyarrow, are the same bytes.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pitboss.errors import BadInput
from pitboss.store.columns import Kind

ROW_GROUP = 1 << 16
"""Rows in each row group of every file; a part smaller than this has exactly one."""

LAYOUT = "1"
"""Version of how files are written; part of each file's metadata."""


def encode(kind: Kind, key: str, identity: str, table: pa.Table) -> bytes:
    """Returns the file of a part: sorted rows with kind, key and identity in its metadata."""
    buffer = io.BytesIO()
    with _writer(buffer, kind, {"kind": kind.name, "key": key, "identity": identity}) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP)
    return buffer.getvalue()


def combine(kind: Kind, parts: Sequence[Path], file: IO[bytes], about: Mapping[str, str]) -> int:
    """Writes the rows of many parts into one file in the parts' order and returns their number.

    Rows are regrouped to `ROW_GROUP`, so memory stays at a few row groups and the bytes do not
    depend on where one part ends and the next begins.
    """
    rows = 0
    with _writer(file, kind, {"kind": kind.name, **about}) as writer:
        for block in _regroup(kind, parts):
            writer.write_table(block, row_group_size=ROW_GROUP)
            rows += block.num_rows
    return rows


def read(path: Path, kind: Kind, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns a file's rows under the kind's schema, all columns or some in the schema's order.

    Raises:
        BadInput: The file's columns are not the kind's.
    """
    schema = pq.read_schema(path)
    if not schema.equals(kind.schema, check_metadata=False):
        raise BadInput(
            f"The file's columns are not those of kind {kind.name!r}: {schema.names}.",
            where=str(path),
            next="It was written by another version of this program; use that version.",
        )
    table = pq.read_table(path, columns=list(columns) if columns else None, partitioning=None)
    return table.replace_schema_metadata(None)


def about(path: Path) -> dict[str, str]:
    """Returns a file's own statement of its kind, key, identity and layout."""
    metadata = pq.read_metadata(path).metadata or {}
    return {
        k.decode().removeprefix("pitboss."): v.decode()
        for k, v in metadata.items()
        if k.startswith(b"pitboss.")
    }


def first_difference(kind: Kind, here: pa.Table, given: pa.Table) -> str:
    """Says where two tables of a kind first differ, naming row and column."""
    if here.num_rows != given.num_rows:
        return f"{here.num_rows} rows here, {given.num_rows} given"
    for index in range(here.num_rows):
        ours, theirs = here.slice(index, 1).to_pylist()[0], given.slice(index, 1).to_pylist()[0]
        for column in ours:
            if ours[column] != theirs[column]:
                row = {name: ours[name] for name in kind.primary}
                return f"{column} of row {row}: {ours[column]!r} here, {theirs[column]!r} given"
    return "equal rows, other bytes (another version of pyarrow?)"


def identity_text(identity: Mapping[str, Any]) -> str:
    """Identity as it is stored in the file: JSON with sorted keys."""
    return json.dumps(identity, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _regroup(kind: Kind, parts: Sequence[Path]) -> Iterable[pa.Table]:
    held: list[pa.Table] = []
    waiting = 0
    for path in parts:
        table = read(path, kind)
        held.append(table)
        waiting += table.num_rows
        if waiting < ROW_GROUP:
            continue
        joined = pa.concat_tables(held)
        whole = waiting - waiting % ROW_GROUP
        for start in range(0, whole, ROW_GROUP):
            yield joined.slice(start, ROW_GROUP).combine_chunks()
        held, waiting = [joined.slice(whole)], waiting - whole
    if waiting:
        yield pa.concat_tables(held).combine_chunks()


def _writer(file: IO[bytes], kind: Kind, about: Mapping[str, str]) -> pq.ParquetWriter:
    statement = {f"pitboss.{k}": v for k, v in sorted({**about, "layout": LAYOUT}.items())}
    return pq.ParquetWriter(
        file,
        kind.schema.with_metadata(statement),
        compression="zstd",
        compression_level=3,
        version="2.6",
        data_page_version="1.0",
        use_dictionary=True,
        write_statistics=True,
        store_schema=True,
    )
