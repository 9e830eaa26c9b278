"""A study's results as pandas tables, read when they are asked for and checked as they are read."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pitboss.api.card import Card, make_card
from pitboss.api.folders import study_folder
from pitboss.api.shown import Shown
from pitboss.api.status import Status, status_of
from pitboss.errors import BadInput, Incomplete
from pitboss.report.made_by import DOCUMENTS, MAKERS
from pitboss.report.reader import Reader, to_frame
from pitboss.store import KINDS, Store

FEATURE_NAME = re.compile(r"L0*(\d+)/F0*(\d+)", re.IGNORECASE)


class Results(Shown, Reader):
    """A finished or running study, opened for reading.

    Every kind of table is an attribute: `s.games`, `s.decisions`, `s.features`, `s.trials`,
    `s.effects`, ... (`s.kinds` lists those that are there; docs/schema.md describes each column).
    So is every JSON file: `s.summary`, `s.controls`, `s.declaration`, ... Of experiments of the
    same kind the first is seen; `s.of("patch-gemma")` sees another one, beside what belongs to it.

    A table is read once, through the store: the size and hash of each file are compared with its
    record. What you change in it stays yours. Where a column may be empty and holds whole numbers,
    pandas' Int types keep them whole; empty decimals are NaN.
    """

    def __init__(self, store: Store, name: str | None = None) -> None:
        super().__init__(store, name)
        self._tables: dict[str, pd.DataFrame] = {}

    def of(self, name: str) -> "Results":
        """The same study, seen from one of its experiments.

        Raises:
            BadInput: It has none of that name.
        """
        return Results(self.store, name)

    @property
    def kinds(self) -> list[str]:
        """Kinds of tables of which at least one part is finished."""
        return [kind for kind in KINDS if self.has(kind)]

    def table(self, kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All finished rows of a kind.

        Args:
            kind: A kind of docs/schema.md.
            columns: These columns only, which spares memory and is not kept; all if None.

        Raises:
            BadInput: No such kind or column.
            Incomplete: The experiment that makes it has not run.
        """
        self.require(kind)
        self.require_columns(kind, columns or ())
        if columns is not None and kind not in self._tables:
            return to_frame(self.read(kind, columns))
        if kind not in self._tables:
            self._tables[kind] = to_frame(self.read(kind))
        whole = self._tables[kind]
        return whole.copy() if columns is None else whole[list(columns)].copy()

    def require(self, kind: str) -> None:
        """Nothing if there are rows of a kind of table.

        Raises:
            BadInput: No such kind.
            Incomplete: The experiment that makes it has not run.
        """
        if kind not in KINDS:
            raise BadInput(f"No table {kind!r}.", next=f"Known tables: {', '.join(KINDS)}.")
        if not self.has(kind):
            raise self._not_there(kind, MAKERS.get(kind, ""))

    def require_columns(self, kind: str, columns: Sequence[str]) -> None:
        """Nothing if a kind of table has these columns.

        Raises:
            BadInput: It has not all of them; says which there are.
        """
        known = KINDS[kind].schema.names
        if strangers := [name for name in columns if name not in known]:
            raise BadInput(
                f"The table {kind} has no column {', '.join(map(repr, strangers))}.",
                where="docs/schema.md",
                next=f"Its columns: {', '.join(known)}.",
            )

    def feature(self, layer: int | str, feature: int | None = None) -> Card:
        """All there is about one feature: `s.feature(3, 12)` or `s.feature("L3/F12")`.

        Raises:
            BadInput: The name is none, or the study knows nothing about that feature.
        """
        if isinstance(layer, str):
            layer, feature = feature_name(layer)
        if feature is None:
            raise BadInput("A feature has a layer and a number.", next='Such as "L3/F12".')
        return make_card(self, layer, feature)

    def status(self) -> Status:
        """What is expected, what is done, at which rate, and how long the rest takes."""
        return status_of(self.store)

    def __getattr__(self, name: str) -> Any:
        if name in KINDS:
            return self.table(name)
        if name in DOCUMENTS:
            found = self.study_summary() if name == "summary" else self.document(name)
            if not found:
                raise self._not_there(self.file(DOCUMENTS[name]), DOCUMENTS[name].kind)
            return found
        raise AttributeError(
            f"A study has no {name!r}. Tables: {', '.join(KINDS)}. "
            f"Files: {', '.join(DOCUMENTS)}. Also settings, status(), feature(), of()."
        )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *KINDS, *DOCUMENTS]

    def _not_there(self, what: str, kind: str) -> Incomplete:
        """The error for a table or file that the study does not have (yet)."""
        maker = self.chosen.get(kind)
        made = f"its experiment {maker} makes it, and has not run to its end here."
        if maker is None:
            made = f"an experiment of kind {kind} makes it, and the study has none."
        return Incomplete(
            f"The study {self.name} has no {what}: "
            + (made if kind else "a later step of the campaign makes it."),
            where=str(self.path),
            next=f"Run it, or the whole study. There are: {', '.join(self.kinds) or 'no tables'}.",
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
