"""A unit of work, named by everything that determines its rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa

from pitboss.errors import Incomplete
from pitboss.store import PartRef, Store, part_key, table_of

Rows: TypeAlias = pa.Table | pd.DataFrame | list[dict[str, Any]]
"""A table of a kind, or rows that `pitboss.store.table_of` makes one of."""


@dataclass(frozen=True)
class Outcome:
    """What carrying out a unit gives.

    Attributes:
        tables: Table kind -> rows: the unit's own kind and those beside it.
        facts: What is known besides, such as how many states there were; in the records only.
        beside: What is written before the tables, such as a bank or a JSON file: called with the
            store. A unit whose tables are there has these, too.
    """

    tables: Mapping[str, Rows]
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: Sequence[Callable[[Store], object]] = ()


@dataclass(frozen=True)
class Unit:
    """One part that is to exist: the smallest work that is stored, claimed and shown.

    Attributes:
        experiment: The study's name of the experiment.
        task: What the task that carries it out is called, such as game batch.
        kind: Table kind of the part that marks the unit as done.
        slug: Readable name, the first half of the key; its first word is the study's name of the
            model.
        identity: Everything that determines the rows.
        rows: Rows the part must have; None where the work itself decides.
        beside: Kinds of the parts that the same work leaves under the same key.
        model: The study's name of the model that it needs on the device; None if it needs none.
        at_once: The most that is worked on at once; None where it is the width of the experiment.
        payload: What the experiment needs to run it.
        intact: Whether what lies beside the tables is there; asked with the store.
    """

    experiment: str
    task: str
    kind: str
    slug: str
    identity: Mapping[str, Any]
    rows: int | None
    beside: tuple[str, ...] = ()
    model: str | None = None
    at_once: int | None = field(compare=False, default=None)
    payload: Any = field(compare=False, repr=False, default=None)
    intact: Callable[[Store], bool] | None = field(compare=False, repr=False, default=None)

    @cached_property
    def key(self) -> str:
        """Content key of the part; also the key of the cached result."""
        return part_key(self.slug, self.identity)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of all parts that it leaves, its own last, as they are committed."""
        return (*self.beside, self.kind)

    def ref(self, store: Store) -> PartRef | None:
        """The finished part, or None if anything of it is missing or damaged."""
        if not all(store.has(kind, self.key) for kind in self.beside):
            return None
        if self.intact is not None and not self.intact(store):
            return None
        return store.ref(self.kind, self.key)

    def complete(self, store: Store, outcome: Outcome, began: float, worker: str = "") -> PartRef:
        """Store what the unit's work gave: the only way into the store.

        Args:
            began: The time.time() at which work started.
            worker: Name of the work pool it was done on, if any.

        Raises:
            Incomplete: There are other rows than the part must have; nothing is stored.
        """
        finished = time.time()
        facts = {
            "experiment": self.experiment,
            **({"worker": worker} if worker else {}),
            "seconds": round(finished - began, 3),
            "started": round(began, 3),
            "finished": round(finished, 3),
            **outcome.facts,
        }
        tables = {kind: _table(kind, outcome.tables[kind]) for kind in self.kinds}
        if self.rows not in (None, found := tables[self.kind].num_rows):
            raise Incomplete(
                f"Unit {self.slug} of {self.experiment} made {found:,} rows of {self.kind}, not "
                f"{self.rows:,}.",
                where=str(store.path),
                next="Nothing of it is stored. The experiment's code and what it says of its units "
                "differ; both have to be looked at.",
            )
        for keep in outcome.beside:
            keep(store)
        for kind, table in tables.items():
            own = facts if kind == self.kind else {"experiment": self.experiment}
            part = store.commit(kind, self.key, table, identity=self.identity, facts=own)
        return part


def _table(kind: str, rows: Rows) -> pa.Table:
    return rows if isinstance(rows, pa.Table) else table_of(kind, rows)
