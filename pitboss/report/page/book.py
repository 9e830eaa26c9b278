"""What sections are made with and what they are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from pitboss.report.made_by import DOCUMENTS
from pitboss.report.page.numbers import Ledger
from pitboss.report.reader import Reader
from pitboss.store import KINDS


class Section(NamedTuple):
    """One section of the page.

    Attributes:
        key: Its anchor, its template `<key>.html` and the beginning of its texts' keys.
        context: What its template shows.
        data: What its plots and tables draw in the browser: name -> plain data.
    """

    key: str
    context: Mapping[str, Any]
    data: Mapping[str, Any] = {}


class Book:
    """The study that is shown, and the numbers that sections have put on the page."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.ledger = Ledger(self._files)
        self.summary = reader.study_summary()
        self._kept: dict[tuple[str, tuple[str, ...] | None], pd.DataFrame | None] = {}

    def frame(self, kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
        """All rows of a table, read once; None where the study has none."""
        asked = (kind, None if columns is None else tuple(columns))
        if asked not in self._kept:
            self._kept[asked] = self.reader.frame(kind, columns)
        return self._kept[asked]

    def document(self, name: str) -> Any:
        """A JSON document of the study, or None."""
        return self.reader.document(name)

    def devices(self, kind: str) -> list[str]:
        """On which devices the finished parts of a table were made, as their records say."""
        facts = [record.facts for record in self.reader.records(kind)] if kind in KINDS else []
        return sorted({str(f["device"]) for f in facts if f.get("device")})

    def _files(self, file: str) -> str:
        """What a file is called where the page shows not the first experiments of their kinds."""
        name, _, suffix = file.rpartition(".")
        if suffix == "parquet":
            return ", ".join(self.reader.files(name))
        return next((self.reader.file(d) for d in DOCUMENTS.values() if d.file == file), file)
