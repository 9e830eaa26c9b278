"""How many rows in flight fitted a kind of GPU, remembered from chunk to chunk and run to run.

Running out of memory halves the rows. After a few chunks that went well, twice as many
are tried again; when that was too many, they are halved and it takes twice as many chunks
until the next try. All lanes of a house share one small file.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

TRY_AFTER = 5
_LONGEST_WAIT = 80


class Entry(TypedDict):
    """What is known of one experiment.

    Attributes:
        slots: Rows to work on at once.
        good: Chunks that went well with them.
        wanted: Chunks that must go well before more rows are tried.
        growth: 1 if these rows are such a try, 0 if they were found from above.
    """

    slots: int
    good: int
    wanted: int
    growth: int


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
        """Rows to work on at once: what fitted, or the width where nothing is known."""
        entry = self._read().get(self._key(experiment, width))
        return width if entry is None else max(1, min(entry["slots"], width))

    def too_many(self, experiment: str, width: int, slots: int) -> int:
        """So many rows did not fit; returns how many to try next."""
        with self._changed() as known:
            key = self._key(experiment, width)
            entry = known.get(key)
            halved = max(1, slots // 2)
            wanted = TRY_AFTER
            if entry is not None and entry["slots"] < slots:
                halved = entry["slots"]  # another lane has found out meanwhile
            if entry is not None:
                wanted = min(entry["wanted"] * (1 + entry["growth"]), _LONGEST_WAIT)
            known[key] = Entry(slots=halved, good=0, wanted=wanted, growth=0)
            return halved

    def went_well(self, experiment: str, width: int, slots: int) -> None:
        """A chunk was done with so many rows."""
        if self._key(experiment, width) not in self._read():
            return
        with self._changed() as known:
            key = self._key(experiment, width)
            entry = known.get(key)
            if entry is None or slots != min(entry["slots"], width):
                return  # another lane has changed it meanwhile
            entry["good"] += 1
            if entry["good"] < entry["wanted"]:
                return
            if slots == width:
                del known[key]
            else:
                more = min(2 * slots, width)
                known[key] = Entry(slots=more, good=0, wanted=entry["wanted"], growth=1)

    def _key(self, experiment: str, width: int) -> str:
        return f"{self.gpu} | {self.model} | {experiment} | width {width}"

    def _read(self) -> dict[str, Entry]:
        if self.path is None:
            return self._own
        try:
            return _entries(self.path.read_bytes())
        except OSError:  # not there yet, or not readable: nothing is known
            return {}

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Entry]]:
        """What is known, to be changed; written in one step, one lane at a time."""
        if self.path is None:
            yield self._own
            return
        known = self._read()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path.with_suffix(".lock"), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                known = self._read()
                yield known
                temporary = self.path.with_suffix(".tmp")
                temporary.write_text(json.dumps(known, indent=1, sort_keys=True))
                os.replace(temporary, self.path)
        except OSError as error:  # a full disk: no reason to stop, or to try too many again
            print(f"What fits is remembered by this process only: {self.path}: {error}")
            self.path, self._own = None, known


def _entries(text: bytes) -> dict[str, Entry]:
    """Entries of a file; what is damaged counts as not known, which costs a retry."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: entry for key, entry in found.items() if _is_entry(entry)}


def _is_entry(found: Any) -> bool:
    names = set(Entry.__annotations__)
    if not isinstance(found, dict) or set(found) != names:
        return False
    return all(type(found[name]) is int and found[name] >= 0 for name in names)
