"""One folder per study: a manifest, Parquet parts, and a record for each finished part.

    <root>/<study>/manifest.json               what the results are made with
    <root>/<study>/parts/<kind>/<key>.parquet  rows, sorted, with their identity in the file
    <root>/<study>/records/<kind>/<key>.json   size and hash of the part; written last
    <root>/<study>/<name>.parquet              parts combined for reading, with a record of its own
    <root>/<study>/tmp/                        files being written

A part is finished when its record exists and its file has the recorded size and hash. Anything
else (no record, a file cut short, other bytes) counts as absent and is computed again. The same
key may be committed by two processes at once: the second finds the first's part and, if the bytes
are the same, that is that; if they are not, it is refused, because a content key promises bytes.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from pitboss.errors import BadInput, Incomplete, Mismatch
from pitboss.store import files, manifest, parquet, verification
from pitboss.store.columns import Kind, conform, unique_rows
from pitboss.store.coverage import Coverage
from pitboss.store.documents import json_bytes, read_json
from pitboss.store.identity import digest
from pitboss.store.parts import PartRef, Record, check_identity, check_key
from pitboss.store.schemas import kind_of
from pitboss.store.verification import Problem

log = logging.getLogger("pitboss.store")

FINAL = "final"
MANIFEST = "manifest.json"


class Store:
    """A study's folder. Open one with `Store.create` or `Store.open`.

    Attributes:
        path: The study's folder.
        manifest: The settings all its results were made with.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.manifest = path, settings
        self._manifest_digest = digest(settings)
        self._hashes = verification.Hashes()

    @classmethod
    def create(cls, root: Path, settings: Mapping[str, Any]) -> "Store":
        """Opens the study's folder below root, making it if it does not exist.

        Args:
            root: Folder of all results.
            settings: The manifest: nested settings that determine results, with the study's name
                under "name". What does not determine results (pools, descriptions) stays out.

        Raises:
            Mismatch: The folder exists and was made with other settings; names the first one.
            BadInput: No usable name, or a setting that is not JSON.
        """
        settings = manifest.plain(settings)
        name = settings.get("name")
        if not isinstance(name, str):
            raise BadInput("The manifest has no study name.", where="manifest field 'name'")
        check_key(name)
        if "/" in name:
            raise BadInput(f"{name!r} cannot name a folder.", where="manifest field 'name'")
        path = Path(root) / name
        for folder in (path, path / "tmp", path / "parts", path / "records"):
            files.ensure_folder(folder)
        path.chmod(0o700)
        files.clean(path / "tmp")
        with files.locked(path / ".lock"):
            if (path / MANIFEST).exists():
                manifest.require_same(manifest.read(path / MANIFEST), settings, str(path))
            elif any((path / "records").rglob("*.json")):
                raise Mismatch(
                    "The folder holds parts but no manifest, so nobody knows their settings.",
                    where=str(path),
                    next="Restore the manifest, or move the folder away.",
                )
            else:
                files.write_atomic(path / "tmp", path / MANIFEST, json_bytes(settings))
        return cls(path, settings)

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Opens an existing study's folder as it is, for reading and further work.

        Raises:
            BadInput: There is no manifest, or it cannot be read.
        """
        return cls(Path(path), manifest.read(Path(path) / MANIFEST))

    def has(self, kind: str, key: str) -> bool:
        """True when the part is finished: recorded, and its file intact."""
        return self._valid(kind, key) is not None

    def ref(self, kind: str, key: str) -> PartRef | None:
        """The finished part's reference, or None."""
        record = self._valid(kind, key)
        return record.ref if record else None

    def record(self, kind: str, key: str) -> Record | None:
        """The finished part's record with identity and facts, or None."""
        return self._valid(kind, key)

    def refs(self, kind: str) -> list[PartRef]:
        """References of all finished parts of a kind, by key."""
        return [record.ref for record in self.records(kind)]

    def records(self, kind: str) -> list[Record]:
        """Records of all finished parts of a kind, by key."""
        kind_of(kind)
        folder = self.path / "records" / kind
        keys = sorted(
            p.relative_to(folder).as_posix().removesuffix(".json") for p in folder.rglob("*.json")
        )
        return [record for key in keys if (record := self._valid(kind, key))]

    def commit(
        self,
        kind: str,
        key: str,
        table: pa.Table,
        *,
        identity: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
    ) -> PartRef:
        """Writes a part so that it exists either completely or not at all.

        Args:
            kind: A kind of `SCHEMAS`.
            key: `part_key(slug, identity)`.
            table: Rows in any order; checked against the kind, sorted by its primary columns.
            identity: Everything that determines the rows; stored in the file and in the record.
            facts: What does not (seconds, device); stored in the record only.

        Returns:
            The part's reference; of the existing part if the same bytes were committed before.

        Raises:
            BadInput: The table breaks the schema, or the key is not the identity's.
            Mismatch: The key is taken by an intact part with other bytes.
            PitbossError: The disk is full.
        """
        check_identity(key, identity)
        described = kind_of(kind)
        rows = conform(described, table)
        data = parquet.encode(described, key, parquet.identity_text(identity), rows)
        with files.temporary(self.path / "tmp") as (tmp, file):
            file.write(data)
            file.flush()
            record = self._make_record(
                kind, key, f"parts/{kind}/{key}.parquet", rows.num_rows, tmp, identity, facts
            )
            with files.locked(self.path / ".lock"):
                if taken := self._valid(kind, key):
                    verification.require_same_bytes(self.path, taken, record, rows)
                    return taken.ref
                files.publish(tmp, file, self.path / record.ref.path)
                self._write_record(record)
        return record.ref

    def read(
        self,
        kind: str,
        keys: Iterable[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Returns the rows of parts, in the order of their keys.

        Args:
            kind: A kind of `SCHEMAS`.
            keys: Parts to read; all finished ones if None.
            columns: Columns to return; all if None.

        Raises:
            Incomplete: A named part is not finished.
            BadInput: Two parts hold the same row.
        """
        described = kind_of(kind)
        joined = self._rows(described, self._chosen(kind, keys), columns)
        unique_rows(described, joined)
        return joined if columns is None else joined.select(list(columns))

    def combine(self, kind: str, keys: Iterable[str] | None, name: str) -> Path:
        """Writes the rows of parts, in the order of keys, into one file `<study>/<name>.parquet`.

        Its bytes depend on the rows alone; an older file stays until it is whole. Raises as `read`.
        """
        check_key(name)
        described = kind_of(kind)
        refs = self._chosen(kind, keys)
        unique_rows(described, self._rows(described, refs, described.primary))
        identity = {"kind": kind, "parts": digest([[ref.key, ref.sha256] for ref in refs])}
        paths = [self.path / ref.path for ref in refs]
        with files.temporary(self.path / "tmp") as (tmp, file):
            rows = parquet.combine(described, paths, file, {"name": name})
            file.flush()
            record = self._make_record(FINAL, name, f"{name}.parquet", rows, tmp, identity, None)
            with files.locked(self.path / ".lock"):
                files.publish(tmp, file, self.path / record.ref.path)
                self._write_record(record)
        return self.path / record.ref.path

    def coverage(self, kind: str, expected_keys: Iterable[str]) -> Coverage:
        """Compares the parts that should exist with those that are finished."""
        expected, there = set(expected_keys), {ref.key for ref in self.refs(kind)}
        return Coverage(
            kind,
            done=tuple(sorted(expected & there)),
            missing=tuple(sorted(expected - there)),
            extra=tuple(sorted(there - expected)),
        )

    def verify(self) -> list[Problem]:
        """Checks every file of the study against its record; an empty list means all is well."""
        return [
            Problem(*found) for found in verification.problems(self.path, self._manifest_digest)
        ]

    def write_json(self, name: str, obj: Any) -> Path:
        """Writes an object as JSON file `<study>/<name>`, in one step."""
        return self.write_bytes(name, json_bytes(obj))

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Writes a file `<study>/<name>` such as figures/games.png, in one step."""
        check_key(name)
        if name == MANIFEST or name.split("/")[0] in ("parts", "records", "tmp"):
            raise BadInput(f"{name!r} belongs to the store itself.", where=str(self.path))
        files.write_atomic(self.path / "tmp", self.path / name, data)
        return self.path / name

    def read_json(self, name: str) -> Any:
        """Reads a JSON file of the study; raises BadInput when it is missing or damaged."""
        return read_json(self.path / name, "Run the step that writes it.")

    def _valid(self, kind: str, key: str) -> Record | None:
        """The record of a finished part. A damaged one is reported and counts as absent."""
        kind_of(kind)
        check_key(key)
        path = self.path / "records" / kind / f"{key}.json"
        record = verification.load_record(path)
        if record is None:
            return None
        verification.require_own(record, kind, key, self._manifest_digest, path)
        wrong = self._hashes.wrong(self.path / record.ref.path, record)
        if wrong:
            log.warning("Part %s %s; it counts as absent.", record.ref.path, wrong)
            return None
        return record

    def _chosen(self, kind: str, keys: Iterable[str] | None) -> list[PartRef]:
        if keys is None:
            return self.refs(kind)
        found = {key: self.ref(kind, key) for key in sorted(set(keys))}
        missing = [key for key, ref in found.items() if ref is None]
        if missing:
            raise Incomplete(
                f"{len(missing)} of {len(found)} parts of kind {kind!r} are not finished: "
                f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}.",
                where=str(self.path),
                next="Run the step that writes them; finished parts are not computed twice.",
            )
        return [ref for ref in found.values() if ref is not None]

    def _rows(self, kind: Kind, refs: Sequence[PartRef], columns: Sequence[str] | None) -> pa.Table:
        """Rows of parts with the columns asked for and those by which rows are told apart."""
        names = [n for n in kind.schema.names if columns is None or n in (*columns, *kind.primary)]
        empty = kind.schema.empty_table().replace_schema_metadata(None).select(names)
        read = (parquet.read(self.path / ref.path, kind, names) for ref in refs)
        return pa.concat_tables([empty, *read])

    def _make_record(
        self,
        kind: str,
        key: str,
        path: str,
        rows: int,
        tmp: Path,
        identity: Mapping[str, Any],
        facts: Mapping[str, Any] | None,
    ) -> Record:
        ref = PartRef(kind, key, path, rows, files.sha256_of(tmp))
        return Record(
            ref=ref,
            size=tmp.stat().st_size,
            identity=manifest.plain(identity),
            facts=manifest.plain(facts or {}),
            manifest=self._manifest_digest,
        )

    def _write_record(self, record: Record) -> None:
        target = self.path / "records" / record.ref.kind / f"{record.ref.key}.json"
        files.write_atomic(self.path / "tmp", target, record.to_json())
