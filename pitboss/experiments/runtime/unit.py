"""A unit of work, named by everything that determines its rows."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pitboss.store import PartRef, Store, part_key


@dataclass(frozen=True)
class Unit:
    """One part that is to exist.

    Attributes:
        experiment: games, features, pathway, patching or words.
        kind: Table kind of the part that marks the unit as done.
        slug: Readable name, the first half of the key.
        identity: Everything that determines the rows.
        rows: Rows the part must have; None where the work itself decides.
        beside: Kinds of the parts that the same work leaves under the same key.
        at_once: The most that is worked on at once; None where it is the width of the experiment.
        payload: What the experiment needs to run it.
    """

    experiment: str
    kind: str
    slug: str
    identity: Mapping[str, Any]
    rows: int | None
    beside: tuple[str, ...] = ()
    at_once: int | None = field(compare=False, default=None)
    payload: Any = field(compare=False, repr=False, default=None)

    @property
    def key(self) -> str:
        """Content key of the part; also the key of the cached result."""
        return part_key(self.slug, self.identity)

    def ref(self, store: Store) -> PartRef | None:
        """The finished part, or None if it or one beside it is missing or damaged."""
        if not all(store.has(kind, self.key) for kind in self.beside):
            return None
        return store.ref(self.kind, self.key)

    def commit(
        self, store: Store, table: pa.Table, began: float, facts: Mapping[str, Any]
    ) -> PartRef:
        """Commit the unit's rows; `began` is the time.time() at which work started."""
        finished = time.time()
        timed = {
            "seconds": round(finished - began, 3),
            "started": round(began, 3),
            "finished": round(finished, 3),
        }
        # Which lane it was; the worker of a lane names it to its runs.
        lane = {"lane": pool} if (pool := os.environ.get("PITBOSS_POOL")) else {}
        return store.commit(
            self.kind,
            self.key,
            table,
            identity=self.identity,
            facts={"experiment": self.experiment, **lane, **timed, **facts},
        )
