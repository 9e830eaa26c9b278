"""What a run shows on its page: progress, tables, text and pictures.

An artifact is a call to the server, which can be slow or away, while the work it describes may have
taken hours. So nothing here ever raises, a call is repeated once only, and after a failure the
server is left alone for a minute.
"""

import functools
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec
from uuid import UUID

from prefect import artifacts
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from pitboss.formats import duration
from pitboss.report.canvas import markdown_image
from pitboss.report.tables import artifact_rows
from pitboss.store import Store
from tasks.worker import pool_name

# The UI and the database stay quick below this; larger things are files, named in the text.
MAX_BYTES = 100_000
EVERY_SECONDS = 5.0
# A step that takes less was not worked on now.
AT_ONCE_SECONDS = 0.5
PAUSE_AFTER_FAILURE = 60.0

P = ParamSpec("P")
_quiet_until = 0.0


def artifact_key(text: str) -> str:
    """Lower-case letters, digits and dashes, the only characters a key may have."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "artifact"


def never_fails(show: Callable[P, object]) -> Callable[P, None]:
    """Turn any failure into a warning, and leave the server alone for a while after one."""

    @functools.wraps(show)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        global _quiet_until
        if time.monotonic() < _quiet_until:
            return
        try:
            with temporary_settings(updates={PREFECT_CLIENT_MAX_RETRIES: 1}):
                show(*args, **kwargs)
        except Exception as error:  # whatever it is, the chunk it describes is worth more
            _quiet_until = time.monotonic() + PAUSE_AFTER_FAILURE
            _logger().warning(
                "An artifact was not shown (%s: %s); the work goes on.",
                type(error).__name__,
                error,
            )

    return guarded


@never_fails
def show_table(
    key: str, rows: Sequence[Mapping[str, object]], description: str, rest: str = ""
) -> None:
    """A table; if it is too large, its first rows and a note that says so.

    Args:
        rest: The file below the study's folder that holds all rows; named beside the table.
    """
    if rest:
        description = f"{description}\n\nAll rows: `{rest}` in the study's folder"
    artifacts.create_table_artifact(
        table=artifact_rows(rows, rest=rest), key=artifact_key(key), description=description
    )


@never_fails
def show_markdown(key: str, text: str, description: str | None = None) -> None:
    """Text; if it is too large, its beginning and a note that says so."""
    raw = text.encode()
    if len(raw) > MAX_BYTES:
        text = raw[: MAX_BYTES - 200].decode(errors="ignore") + "\n\n*Cut here: too long to show.*"
    artifacts.create_markdown_artifact(
        markdown=text, key=artifact_key(key), description=description
    )


@never_fails
def show_picture(key: str, png: bytes, caption: str, path: str) -> None:
    """A PNG inside a markdown artifact, or only its path if it is too large."""
    text = f"{markdown_image(png, caption)}\n\n{caption}\n\nFile: `{path}`"
    if len(text) > MAX_BYTES:
        text = f"{caption}\n\nThe picture is too large to show here: `{path}`"
    artifacts.create_markdown_artifact(markdown=text, key=artifact_key(key), description=caption)


def keep_picture(store: Store, name: str, png: bytes, caption: str) -> None:
    """Store a picture under figures/ and show it."""
    path = store.write_bytes(f"figures/{name}.png", png)
    show_picture(f"{store.path.name}-{name}-figure", png, caption, str(path))


class Progress:
    """A progress bar for a known number of steps, sent at most every few seconds.

    It says how many steps an hour are made and how long the rest takes at that rate. Steps that
    were finished before come one right after the other: they count, but tell nothing of the rate.

    Args:
        clock: Seconds, for tests.
    """

    def __init__(
        self, key: str, description: str, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._key, self._description, self._total = artifact_key(key), description, total
        self._id: UUID | None = None
        self._done = 0
        self._clock = clock
        self._sent_at = float("-inf")
        self._moved_at = clock()
        self._since = (self._moved_at, 0)  # when measuring began, and what was done then
        self.advance(0)  # the bar appears at once, at zero

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count steps; the last one is always sent."""
        now = self._clock()
        self._done += steps
        if steps:
            if now - self._moved_at < AT_ONCE_SECONDS * steps:
                self._since = (now, self._done)
            self._moved_at = now
        last = self._done >= self._total
        if last or now - self._sent_at >= EVERY_SECONDS:
            self._sent_at = now
            self._send(note)

    def reach(self, done: int, note: str = "") -> None:
        """Count up to a number of steps, some of them done by others."""
        self.advance(max(0, done - self._done), note)

    @property
    def speed(self) -> str:
        """`14 an hour, about 5 h 40 min left`; empty until measured, and at the end."""
        began, before = self._since
        steps, seconds = self._done - before, self._moved_at - began
        if not steps or seconds <= 0 or self._done >= self._total:
            return ""
        hourly = 3600 * steps / seconds
        shown = f"{hourly:,.0f}" if hourly >= 10 else f"{hourly:.1f}"
        left = duration((self._total - self._done) * seconds / steps)
        return f"{shown} an hour, about {left} left"

    @never_fails
    def _send(self, note: str) -> None:
        percent = 100.0 if not self._total else min(100.0, 100.0 * self._done / self._total)
        pool = f"{pool_name()}: " if pool_name() else ""
        text = f"{pool}{self._description}: {self._done} of {self._total}"
        text = ". ".join(piece for piece in (text, self.speed, note) if piece)
        self._id = send_progress(self._id, self._key, percent, text)


def send_progress(known: UUID | None, key: str, percent: float, text: str) -> UUID | None:
    """Make a progress artifact, or bring the one that is known up to date; its id."""
    if known is not None:
        artifacts.update_progress_artifact(known, progress=percent, description=text)
        return known
    made = artifacts.create_progress_artifact(progress=percent, key=key, description=text)
    return made if isinstance(made, UUID) else None


def _logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)
