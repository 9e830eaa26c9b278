"""What a study's folder holds, read when a section asks for it."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from pitboss.errors import BadInput
from pitboss.store import KINDS, Store

PRIMARY = "safe_vs_risky"
FEATURE = ["layer", "feature"]


class Tables:
    """A study's tables and documents, those of the end of a study before its single parts.

    Attributes:
        store: The study's folder.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._kept: dict[tuple[str, tuple[str, ...] | None], pd.DataFrame] = {}

    def frame(self, kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame | None:
        """All rows of a kind: of its final file, otherwise of the finished parts.

        Returns:
            None where the study has none, so that a section can be left out.
        """
        asked = (kind, None if columns is None else tuple(columns))
        if asked not in self._kept:
            self._kept[asked] = self._read(kind, columns)
        found = self._kept[asked]
        return None if found.empty else found

    def some(self, kind: str, columns: Sequence[str], filters: Any) -> pd.DataFrame:
        """Rows that pass pyarrow's `filters`, read without the others; empty if there are none."""
        path = self.store.path / f"{kind}.parquet"
        if path.is_file():
            return pq.read_table(path, columns=list(columns), filters=filters).to_pandas()
        found = self.frame(kind)
        if found is None:
            return pd.DataFrame(columns=list(columns))
        for name, how, value in filters:
            kept = found[name].isin(value) if how == "in" else found[name] == value
            found = found[kept]
        return found[list(columns)]

    def document(self, name: str) -> Any:
        """A JSON document of the study, or None."""
        try:
            return self.store.read_json(name)
        except BadInput:
            if (self.store.path / name).is_file():
                raise
            return None

    def devices(self, kind: str) -> list[str]:
        """On which devices the finished parts of a kind were made, as their records say."""
        if kind not in KINDS:
            return []
        facts = [record.facts for record in self.store.records(kind)]
        return sorted({str(f["device"]) for f in facts if f.get("device")})

    def _read(self, kind: str, columns: Sequence[str] | None) -> pd.DataFrame:
        path = self.store.path / f"{kind}.parquet"
        wanted = None if columns is None else list(columns)
        if path.is_file():
            return pq.read_table(path, columns=wanted).to_pandas()
        if kind not in KINDS or not any((self.store.path / "parts" / kind).rglob("*.parquet")):
            return pd.DataFrame()
        return self.store.read(kind, self._parts(kind), columns=wanted).to_pandas()

    def _parts(self, kind: str) -> list[str]:
        """Keys of the finished parts. Findings are gathered again once they are confirmed."""
        records = self.store.records(kind)
        confirmed = [record for record in records if record.identity.get("confirmed")]
        return [record.ref.key for record in confirmed or records]


def primary(effects: pd.DataFrame, outcome: str = "stop", phase: str = "discovery") -> pd.DataFrame:
    """The primary contrasts of one outcome and phase, of features and controls alike."""
    kept = (effects["contrast"] == PRIMARY) & (effects["outcome"] == outcome)
    return effects[kept & (effects["phase"] == phase)]


def plain(value: Any, digits: int = 4) -> Any:
    """A cell as JSON has it: null for NaN, floats to `digits` significant figures."""
    if value is None or value is pd.NA or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return None
        short = float(f"{value:.{digits}g}")
        return int(short) if short == int(short) and abs(short) < 1e6 else short
    return value


def column(values: pd.Series, digits: int = 4) -> list[Any]:
    """A column as JSON has it."""
    return [plain(value, digits) for value in values.tolist()]


def columns(frame: pd.DataFrame, digits: int = 4) -> dict[str, list[Any]]:
    """A frame as JSON has it, column by column: names are said once, not in every row."""
    return {str(name): column(frame[name], digits) for name in frame.columns}


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever its texts are."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
