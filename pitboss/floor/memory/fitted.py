"""How many requests in flight fitted a kind of GPU, remembered from chunk to chunk and run to run.

Running out of memory halves them. After a few chunks that went well, twice as many are tried again;
when that was too many, they are halved and it takes twice as many chunks until the next try. All
workers of a house share one small file.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from pitboss.errors import PitbossError
from pitboss.store.documents import replace_json
from pitboss.store.files import ensure_folder, locked
from pitboss.studies.fields import Section

TRY_AFTER = 5
_LONGEST_WAIT = 80
_Count = Annotated[int, Field(ge=0)]


class Entry(Section):
    """What is known of one experiment."""

    slots: _Count
    """Requests to work on at once."""

    good: _Count
    """Chunks that went well with them."""

    wanted: _Count
    """Chunks that must go well before more are tried."""

    growth: _Count
    """1 if so many slots are such a try, 0 if they were found from above."""


_ENTRIES = TypeAdapter(dict[str, Entry])


class Fitted:
    """What fitted one model on one kind of GPU.

    Args:
        path: The file; None to remember for this process only.
        gpu: The GPU's kind, by its name.
        model: The model's name.
    """

    def __init__(self, path: Path | None, gpu: str, model: str) -> None:
        self.path, self.gpu, self.model = path, gpu, model
        self._own: dict[str, Entry] = {}

    def slots(self, experiment: str, width: int) -> int:
        """Slots to use: what fitted, or the width where nothing is known."""
        entry = self._read().get(self._key(experiment, width))
        return width if entry is None else max(1, min(entry.slots, width))

    def too_many(self, experiment: str, width: int, slots: int) -> int:
        """So many slots did not fit; returns how many to try next."""
        with self._changed() as known:
            key = self._key(experiment, width)
            entry = known.get(key)
            halved, wanted = max(1, slots // 2), TRY_AFTER
            if entry is not None:
                wanted = min(entry.wanted * (1 + entry.growth), _LONGEST_WAIT)
                if entry.slots < slots:
                    halved = entry.slots  # another worker has found out meanwhile
            known[key] = Entry(slots=halved, good=0, wanted=wanted, growth=0)
            return halved

    def went_well(self, experiment: str, width: int, slots: int) -> None:
        """A chunk was done with so many slots."""
        if self._key(experiment, width) not in self._read():
            return
        with self._changed() as known:
            key = self._key(experiment, width)
            entry = known.get(key)
            if entry is None or slots != min(entry.slots, width):
                return  # another worker has changed it meanwhile
            if entry.good + 1 < entry.wanted:
                known[key] = entry.model_copy(update={"good": entry.good + 1})
            elif slots == width:
                del known[key]
            else:
                more = min(2 * slots, width)
                known[key] = Entry(slots=more, good=0, wanted=entry.wanted, growth=1)

    def _key(self, experiment: str, width: int) -> str:
        return f"{self.gpu} | {self.model} | {experiment} | width {width}"

    def _read(self) -> dict[str, Entry]:
        """What is known; a missing, unreadable or damaged file says nothing, which costs a try."""
        if self.path is None:
            return self._own
        try:
            return _ENTRIES.validate_json(self.path.read_bytes())
        except (OSError, ValueError):
            return {}

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Entry]]:
        """What is known, to be changed; written in one step, one worker at a time."""
        if self.path is None:
            yield self._own
            return
        known = self._read()
        try:
            ensure_folder(self.path.parent)
            with locked(self.path.with_suffix(".lock")):
                known = self._read()
                yield known
                replace_json(self.path, {key: entry.model_dump() for key, entry in known.items()})
        except (OSError, PitbossError) as error:  # a full disk: no reason to stop, nor to forget
            print(f"What fits is remembered by this process only: {self.path}: {error}")
            self.path, self._own = None, known
