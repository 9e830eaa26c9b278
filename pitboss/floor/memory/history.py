"""What tenants held lately: one line a survey, and by how much they may grow again.

A tenant is judged by its worst recent behaviour, not by its present size. Someone who held 26 GB an
hour ago may hold them again, and someone who grew by 6 GB today may grow by 6 GB more.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import Gpu, Survey
from pitboss.store.files import ensure_folder, replace_bytes

FILE = "history.jsonl"
WINDOW = timedelta(hours=24)
# A line of eight GPUs is about 1 kB: one survey a minute for the ten days kept stays under this.
_LONGEST = 32_000_000
_KEPT = timedelta(days=10)

HIDDEN = "(not listed)"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one GPU's other users held at one time.

    Attributes:
        held: Bytes by tenant, ours left out; `HIDDEN` for what no listed process accounts for.
        used: Bytes in use by anybody.
    """

    taken: datetime
    gpu: int
    used: int
    held: dict[str, int]


def remember(survey: Survey, path: Path) -> None:
    """Append a survey to the history; what is older than ten days goes when the file is long."""
    ensure_folder(path.parent)
    line = {
        "taken": survey.taken,
        "gpus": [{"gpu": g.index, "used": g.used, "held": foreign(g)} for g in survey.gpus],
    }
    with path.open("a+b") as file:
        if file.tell() and not _ends_a_line(file):
            file.write(b"\n")  # a line torn by a crash stays alone
        file.write(json.dumps(line).encode() + b"\n")
    if path.stat().st_size > _LONGEST:
        _forget(path, _time(survey.taken, str(path)) - _KEPT)


def _ends_a_line(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def _forget(path: Path, before: datetime) -> None:
    kept = [line for line, taken in _lines(path) if taken >= before]
    replace_bytes(path, "".join(json.dumps(line) + "\n" for line in kept).encode())


def foreign(gpu: Gpu) -> dict[str, int]:
    """Bytes by tenant, ours left out.

    The key is the user and the program, not the process number: a server that is started again is
    the same tenant. Several processes of one program count together.
    """
    held: dict[str, int] = {}
    for tenant in gpu.tenants:
        if not tenant.ours:
            key = f"{tenant.user or '?'}: {tenant.label}"
            held[key] = held.get(key, 0) + (tenant.memory or 0)
    if gpu.unattributed:
        held[HIDDEN] = gpu.unattributed
    return held


def recall(path: Path, since: datetime | None = None) -> list[Sighting]:
    """The history from a time on, oldest first; empty where nothing was remembered yet."""
    sightings = [
        Sighting(taken, int(gpu["gpu"]), int(gpu["used"]), dict(gpu["held"]))
        for line, taken in _lines(path)
        if since is None or taken >= since
        for gpu in line["gpus"]
    ]
    return sorted(sightings, key=lambda sighting: sighting.taken)


def _lines(path: Path) -> Iterable[tuple[dict[str, Any], datetime]]:
    """Every whole line; one torn by a crash is left out, it says nothing."""
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict) and "gpus" in line:
            yield line, _time(line["taken"], str(path))


def _time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(
            f"{text!r} is no time.", where=where, next="A survey says when it was taken, ISO 8601."
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def growth(gpu: Gpu, history: Iterable[Sighting], now: datetime) -> int:
    """Bytes by which the others on a GPU may grow again, by what they did within `WINDOW`.

    For each tenant the larger of: how much more it once held than now (all of it, if it is gone:
    servers come back), and the largest rise seen. A tenant's first sighting is no rise.
    """
    series: dict[str, list[int]] = {}
    here = (sighting for sighting in history if sighting.gpu == gpu.index)
    seen = (sighting.held for sighting in here if now - WINDOW <= sighting.taken <= now)
    for held in (*seen, foreign(gpu)):
        for key in held.keys() | series.keys():
            series.setdefault(key, []).append(held.get(key, 0))
    return sum(_worst(sizes) for sizes in series.values())


def _worst(sizes: list[int]) -> int:
    lowest, rise = sizes[0], 0
    for size in sizes:
        # A restart (0, then as before) is a return, not a growth.
        if size > 0:
            lowest = min(lowest, size) if lowest else size
            rise = max(rise, size - lowest)
    return max(rise, max(sizes) - sizes[-1])


def growths(survey: Survey, path: Path) -> dict[int, int]:
    """`growth` of every GPU of a survey by the history in a file, up to the survey's own time."""
    now = _time(survey.taken, survey.source)
    seen = recall(path, now - WINDOW)
    return {gpu.index: growth(gpu, seen, now) for gpu in survey.gpus}
