"""A study's results as pandas tables, read when they are asked for and checked as they are read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from pitboss.api.folders import study_folder
from pitboss.api.makers import DOCUMENTS, maker, not_there
from pitboss.api.status import Status, status_of
from pitboss.errors import BadInput
from pitboss.store import KINDS, Store

if TYPE_CHECKING:
    from pitboss.api.card import Card

FEATURE_NAME = re.compile(r"L0*(\d+)/F0*(\d+)", re.IGNORECASE)
_NULLABLE = {
    **{getattr(pa, f"int{n}")(): getattr(pd, f"Int{n}Dtype")() for n in (8, 16, 32, 64)},
    pa.bool_(): pd.BooleanDtype(),
}


class Results:
    """A finished or running study, opened for reading.

    Every kind of table is an attribute: `s.games`, `s.decisions`, `s.features`, `s.trials`,
    `s.effects`, ... (`s.kinds` lists those that are there; docs/schema.md describes each column).
    So is every JSON file: `s.summary`, `s.controls`, `s.declaration`, ...

    A table is read once, through the store: the size and hash of each file are compared with its
    record. What you change in it stays yours. Where a column may be empty and holds whole numbers,
    pandas' Int types keep them whole; empty decimals are NaN.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._tables: dict[str, pd.DataFrame] = {}

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.store.manifest["name"])

    @property
    def path(self) -> Path:
        """The study's folder."""
        return self.store.path

    @property
    def settings(self) -> dict[str, Any]:
        """Everything the results depend on: all settings, resolved, with library versions."""
        return self.store.manifest

    @property
    def kinds(self) -> list[str]:
        """Kinds of tables of which at least one part is finished."""
        return [kind for kind in KINDS if self.store.refs(kind)]

    def table(self, kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All finished rows of a kind.

        Args:
            kind: A kind of docs/schema.md.
            columns: These columns only, which spares memory and is not kept; all if None.

        Raises:
            BadInput: No such kind or column.
            Incomplete: The experiment that makes it has not run.
        """
        if kind not in KINDS:
            raise BadInput(f"No table {kind!r}.", next=f"Known tables: {', '.join(KINDS)}.")
        if kind in self._tables:
            whole = self._tables[kind]
            return whole.copy() if columns is None else whole[list(columns)].copy()
        if columns is not None:
            known = KINDS[kind].schema.names
            if strangers := [name for name in columns if name not in known]:
                raise BadInput(
                    f"The table {kind} has no column {', '.join(map(repr, strangers))}.",
                    where="docs/schema.md",
                    next=f"Its columns: {', '.join(known)}.",
                )
        if not self.store.refs(kind):
            raise not_there(self.store, kind, maker(kind))
        frame = to_frame(self.store.read(kind, columns=columns))
        if columns is None:
            self._tables[kind] = frame
        return frame.copy()

    def has(self, kind: str) -> bool:
        """Whether at least one part of a kind is finished."""
        return bool(self.store.refs(kind))

    def feature(self, layer: int | str, feature: int | None = None) -> "Card":
        """All there is about one feature: `s.feature(3, 12)` or `s.feature("L3/F12")`.

        Raises:
            BadInput: The name is none, or the study knows nothing about that feature.
        """
        from pitboss.api.card import make_card

        if isinstance(layer, str):
            layer, feature = feature_name(layer)
        if feature is None:
            raise BadInput("A feature has a layer and a number.", next='Such as "L3/F12".')
        return make_card(self, layer, feature)

    def status(self) -> Status:
        """What is expected, what is done, at which rate, and how long the rest takes."""
        return status_of(self.store)

    def document(self, name: str) -> Any:
        """A JSON file of the study by its name without .json, such as summary.

        Raises:
            Incomplete: It is not there; names the step that writes it.
        """
        file, made_by = DOCUMENTS[name]
        if not (self.path / file).is_file():
            raise not_there(self.store, file, made_by)
        return self.store.read_json(file)

    def __getattr__(self, name: str) -> Any:
        if name in KINDS:
            return self.table(name)
        if name in DOCUMENTS:
            return self.document(name)
        raise AttributeError(
            f"A study has no {name!r}. Tables: {', '.join(KINDS)}. "
            f"Files: {', '.join(DOCUMENTS)}. Also settings, status(), feature()."
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *KINDS, *DOCUMENTS]

    def __repr__(self) -> str:
        rows = [f"  {kind:16} {_rows(self.store, kind):>10,} rows" for kind in self.kinds]
        files = [name for name, (file, _) in DOCUMENTS.items() if (self.path / file).is_file()]
        return "\n".join(
            [
                f"study {self.name} in {self.path}",
                *(rows or ["  nothing finished yet"]),
                *([f"  files: {', '.join(files)}"] if files else []),
            ]
        )


def open_results(study: str, results: Path | str | None = None) -> Results:
    """Open a study's results for reading.

    Args:
        study: Its name, such as demo, or its folder below the results.
        results: Folder of all results; PITBOSS_RESULTS or `results` of the repository if None.

    Raises:
        BadInput: There is no such study, or it lies outside the results.
    """
    return Results(Store.open(study_folder(study, results)))


def feature_name(text: str) -> tuple[int, int]:
    """`L3/F12` -> (3, 12).

    Raises:
        BadInput: It is no feature's name.
    """
    match = FEATURE_NAME.fullmatch(text.strip())
    if match is None:
        raise BadInput(
            f"{text!r} names no feature.",
            next="Write the layer (from 0) and the feature, such as L3/F12.",
        )
    return int(match[1]), int(match[2])


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table of the store for pandas; whole numbers and flags stay so where some are empty."""
    frame = table.to_pandas()
    for field in table.schema:
        if table.column(field.name).null_count and field.type in _NULLABLE:
            kept = table.column(field.name).to_pandas(types_mapper=_NULLABLE.get)
            frame[field.name] = kept
    return frame


def _rows(store: Store, kind: str) -> int:
    return sum(ref.rows for ref in store.refs(kind))
