"""A study's results, read by one class wherever they are shown: the API, the terminal, the page.

A study may have several experiments of a kind, such as two patchings. Whoever reads it sees one of
each kind: the first in the study file, or, with `of`, another one beside what it reads and what
reads it. Everything comes from the folder alone, finished or not, and nothing is written to it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pitboss.errors import BadInput
from pitboss.report.made_by import DOCUMENTS, Document
from pitboss.store import KINDS, PartRef, Store
from pitboss.store.parts import Record

EXPECTED = "expected"
"""Folder in which whoever works on an experiment writes down what it is to leave behind."""

_OF_THE_STUDY = {
    "study", "complete", "problems", "shortfalls", "warnings", "experiments", "fingerprint",
    "quality",
}  # fmt: skip
"""What a summary says of the study as a whole; the rest is an experiment's."""
_NULLABLE = {
    **{getattr(pa, f"int{n}")(): getattr(pd, f"Int{n}Dtype")() for n in (8, 16, 32, 64)},
    pa.bool_(): pd.BooleanDtype(),
}


class Reader:
    """A study opened for reading.

    Args:
        name: An experiment to see in the place of the first of its kind; None for the firsts.

    Attributes:
        chosen: Kind of experiment -> the one that is seen.

    Raises:
        BadInput: The study has no experiment of that name.
    """

    def __init__(self, store: Store, name: str | None = None) -> None:
        self.store, self.of_name = store, name
        self.experiments: dict[str, dict[str, Any]] = self.settings.get("experiments", {})
        self._written = [store.read_json(f"{EXPECTED}/{path.name}") for path in _written(store)]
        self._owners: dict[tuple[str, str], set[str]] = {}
        for each in self._written:
            for table in each["tables"]:
                for key in table["keys"]:
                    self._owners.setdefault((table["table"], key), set()).add(each["name"])
        self.chosen = self._firsts() if name is None else self._beside(name)

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.settings["name"])

    @property
    def path(self) -> Path:
        """The study's folder."""
        return self.store.path

    @property
    def settings(self) -> dict[str, Any]:
        """Everything the results depend on: all settings, resolved, with library versions."""
        return self.store.manifest

    @property
    def further(self) -> list[str]:
        """Experiments that are not the first of their kind."""
        return [name for name in self.experiments if not self._is_first(name)]

    def settings_of(self, kind: str) -> dict[str, Any]:
        """The section of the study file of the experiment of a kind that is seen; empty if none."""
        return self.experiments.get(self.chosen.get(kind, ""), {})

    def records(self, kind: str) -> list[Record]:
        """Records of the finished parts of a table."""
        return [record for record in self.store.records(kind) if self._is_seen(record)]

    def refs(self, kind: str) -> list[PartRef]:
        """The finished parts of a table."""
        return [record.ref for record in self.records(kind)]

    def has(self, kind: str) -> bool:
        """Whether at least one part of a table is finished."""
        return bool(self.refs(kind))

    def read(
        self,
        kind: str,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
    ) -> pa.Table:
        """Finished rows of a table, in the order of its parts.

        Args:
            columns: These columns only; all if None.
            where: Rows that meet it are read without the others.
        """
        paths = [self.path / ref.path for ref in self.refs(kind)]
        names = list(columns or KINDS[kind].schema.names)
        if not paths:
            return KINDS[kind].schema.empty_table().select(names)
        found = pq.read_table(paths, columns=names, filters=where)
        return found.replace_schema_metadata(None)

    def frame(
        self,
        kind: str,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
    ) -> pd.DataFrame | None:
        """The same for pandas; None where there are no rows."""
        found = to_frame(self.read(kind, columns, where))
        return None if found.empty else found

    def files(self, kind: str) -> list[str]:
        """Names of the files in which a finished study has the table's rows."""
        owners = {name for (of, _), names in self._owners.items() if of == kind for name in names}
        seen = [name for name in self.chosen.values() if name in owners]
        return sorted({f"{self.named(kind, name)}.parquet" for name in seen}) or [f"{kind}.parquet"]

    def named(self, name: str, experiment: str) -> str:
        """A name in the study's folder, as `pitboss.experiments.runtime.experiment` gives them."""
        return name if self._is_first(experiment) else f"{name}-{experiment}"

    def file(self, document: Document) -> str:
        """Name of a document's file, whether it is there or not."""
        experiment = self.chosen.get(document.kind)
        stem, _, suffix = document.file.rpartition(".")
        return f"{self.named(stem, experiment)}.{suffix}" if experiment else document.file

    def document(self, name: str) -> Any:
        """A JSON file of the study by its name without .json, such as controls; None if not there.

        Raises:
            BadInput: It is damaged.
        """
        document = DOCUMENTS[name]
        if self.of_name is not None and document.kind and document.kind not in self.chosen:
            return None
        file = self.file(document)
        return self.store.read_json(file) if (self.path / file).is_file() else None

    def study_summary(self) -> dict[str, Any]:
        """What the end of a study said of it, and of the experiments that are seen."""
        whole: dict[str, Any] = self.document("summary") or {}
        if self.of_name is None:
            return whole
        found = {key: value for key, value in whole.items() if key in _OF_THE_STUDY}
        for name in self.chosen.values():
            found |= whole.get(name, {}) if not self._is_first(name) else {}
        seen = set(self.chosen.values())
        parts = found.get("experiments", {}).items()
        return found | {"experiments": {k: v for k, v in parts if k.split(" ")[0] in seen}}

    def _is_first(self, name: str) -> bool:
        return name not in self.experiments or self._firsts().get(self._kind(name)) == name

    def _kind(self, name: str) -> str:
        return str(self.experiments[name]["kind"])

    def _firsts(self) -> dict[str, str]:
        """Kind -> the experiment that the study file names first."""
        return {self._kind(name): name for name in reversed(self.experiments)}

    def _beside(self, name: str) -> dict[str, str]:
        """An experiment, what it reads, and of the other kinds the first that fits to these.

        One fits if it reads no other experiments than the chosen ones, and is of the same model.
        """
        if name not in self.experiments:
            raise BadInput(
                f"The study {self.name} has no experiment {name!r}.",
                where=str(self.path),
                next=f"Its experiments: {', '.join(self.experiments) or 'none'}.",
            )
        reads = {each["name"]: set(each["reads"]) for each in self._written}
        models: dict[str, set[str]] = {}
        for each in self._written:
            models.setdefault(each["name"], set()).add(each["model"])
        waiting, chosen = [name], {}
        while waiting:
            one = waiting.pop()
            chosen[self._kind(one)] = one
            waiting += reads.get(one, ())
        for _ in self.experiments:  # each time, what reads those that were added the last time
            for other in (each for each in self.experiments if each in reads):
                fits = reads[other] <= set(chosen.values())
                if fits and models[other] & models.get(name, set()):
                    chosen.setdefault(self._kind(other), other)
        return chosen

    def _is_seen(self, record: Record) -> bool:
        """Whether a part is one of the experiments that are seen, or of none that is known."""
        owners = self._owners.get((record.ref.kind, record.ref.key), set())
        owners = (owners | {str(record.facts.get("experiment"))}) & set(self.experiments)
        return not owners or not owners.isdisjoint(self.chosen.values())


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table of the store for pandas; whole numbers and flags stay so where some are empty."""
    frame = table.to_pandas()
    for field in table.schema:
        if table.column(field.name).null_count and field.type in _NULLABLE:
            kept = table.column(field.name).to_pandas(types_mapper=_NULLABLE.get)
            frame[field.name] = kept
    return frame


def where(**values: Any) -> pc.Expression:
    """Rows in which columns have these values: one of a set, none for None."""
    found = pc.scalar(True)  # every row
    for name, value in values.items():
        column = pc.field(name)
        if value is None:
            met = column.is_null()
        elif isinstance(value, set | frozenset):
            met = column.isin(sorted(value))
        else:
            met = column == value
        found &= met
    return found


def plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain JSON values; what is empty is None."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [
        {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
        for row in plain.to_dict("records")
    ]


def _written(store: Store) -> Iterable[Path]:
    return sorted((store.path / EXPECTED).glob("*.json"))
