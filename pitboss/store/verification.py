"""Checking a study's files against their records, from the outside."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pitboss.errors import Mismatch
from pitboss.store import files, parquet
from pitboss.store.parts import Record
from pitboss.store.schemas import kind_of

log = logging.getLogger("pitboss.store")


class Problem(NamedTuple):
    """Something `verify` found.

    Attributes:
        path: The file, relative to the study's folder.
        what: What is wrong with it.
        harmless: True for the leftovers of an interrupted writer, which no reader ever sees.
    """

    path: str
    what: str
    harmless: bool


def load_record(path: Path) -> Record | None:
    """Reads a record; a missing one is None, a damaged one is reported and None."""
    try:
        return Record.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as error:
        log.warning("Record %s cannot be read (%s); its part counts as absent.", path, error)
        return None


def require_own(record: Record, kind: str, key: str, manifest: str, path: Path) -> None:
    """Raises Mismatch when the record is of another kind, key or study than its place says."""
    pairs = (
        ("kind", record.ref.kind, kind),
        ("key", record.ref.key, key),
        ("manifest", record.manifest, manifest),
    )
    for field, here, asked in pairs:
        if here != asked:
            raise Mismatch(
                f"The record belongs elsewhere: {field}: {here!r} here, {asked!r} asked.",
                where=str(path),
                next="A file was copied in from another study; move it away.",
            )


def require_same_bytes(path: Path, taken: Record, given: Record, rows: pa.Table) -> None:
    """Raises Mismatch, naming row and column, when a finished part and a new one differ."""
    if taken.ref.sha256 == given.ref.sha256:
        return
    kind = kind_of(taken.ref.kind)
    here = parquet.read(path / taken.ref.path, kind)
    raise Mismatch(
        f"Part {taken.ref.key!r} exists with other bytes: "
        f"{parquet.first_difference(kind, here, rows)}.",
        where=str(path / taken.ref.path),
        next="The same key must give the same rows: something that determines them is missing "
        "from the identity, or the computation is not deterministic.",
    )


class Hashes:
    """Compares parts with their records, hashing a file again only when its stat has changed."""

    def __init__(self) -> None:
        self._intact: dict[Path, tuple[str, int, int, int]] = {}

    def wrong(self, part: Path, record: Record) -> str:
        """Says what is wrong with a part's file, or nothing."""
        try:
            stat = part.stat()
        except FileNotFoundError:
            return "is recorded but does not exist"
        if stat.st_size != record.size:
            return f"has {stat.st_size} bytes, not the recorded {record.size}"
        seen = (record.ref.sha256, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if self._intact.get(part) == seen:
            return ""
        if files.sha256_of(part) != record.ref.sha256:
            return "has other bytes than recorded (same size, other hash)"
        self._intact[part] = seen
        return ""


def problems(path: Path, manifest: str) -> Iterator[Problem]:
    """Yields everything in the folder that is not as recorded."""
    known: set[str] = set()
    for record_path in sorted((path / "records").rglob("*.json")):
        yield from _of_record(path, record_path, manifest, known)
    for part in sorted((path / "parts").rglob("*")):
        name = part.relative_to(path).as_posix()
        if part.is_file() and name not in known:
            yield Problem(
                name, "has no record: its commit was interrupted; no reader sees it", harmless=True
            )
    for left in sorted((path / "tmp").glob("*")):
        yield Problem(left.relative_to(path).as_posix(), "is a temporary file", harmless=True)


def _of_record(path: Path, record_path: Path, manifest: str, known: set[str]) -> Iterator[Problem]:
    name = record_path.relative_to(path).as_posix()
    record = load_record(record_path)
    if record is None:
        yield Problem(name, "is a record that cannot be read", harmless=False)
        return
    known.add(record.ref.path)
    kind, _, key = name.removeprefix("records/").removesuffix(".json").partition("/")
    try:
        require_own(record, kind, key, manifest, record_path)
    except Mismatch as error:
        yield Problem(name, error.what, harmless=False)
        return
    wrong = _of_part(path / record.ref.path, record)
    if wrong:
        yield Problem(record.ref.path, wrong, harmless=False)


def _of_part(part: Path, record: Record) -> str:
    wrong = Hashes().wrong(part, record)
    if wrong:
        return wrong
    try:
        stated = parquet.about(part)
    except pa.ArrowInvalid as error:
        return f"is not Parquet: {error}"
    if "key" in stated and stated["key"] != record.ref.key:
        return f"says its key is {stated['key']!r}, its record says {record.ref.key!r}"
    return ""
