"""How far a study is, on its campaign's page: every experiment, every worker, the time left."""

import time
from collections.abc import Callable
from uuid import UUID

from pitboss.api.status import Status, status_of
from pitboss.api.steps import Step
from pitboss.formats import duration
from pitboss.report.tables import markdown_table
from pitboss.studies.model import Study
from tasks.artifacts import artifact_key, never_fails, send_progress
from tasks.study import open_results

EVERY_SECONDS = 20.0
# Looking costs at most this share of the time: a large study has thousands of records.
MOST_OF_THE_TIME = 0.02


class StudyProgress:
    """A bar with tables below it, taken from the study's store; calls between two looks are free.

    Args:
        clock: Seconds, for tests.
    """

    def __init__(self, study: Study, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = artifact_key(f"{study.name}-study-progress")
        self._store, self._clock = open_results(study), clock
        self._id: UUID | None = None
        self._next = float("-inf")

    def tell(self, *, now: bool = False) -> None:
        """Look at the store and bring the artifact up to date, if it is time to; `now`: it is."""
        began = self._clock()
        if began < self._next and not now:
            return
        self._send()
        took = self._clock() - began
        self._next = began + max(EVERY_SECONDS, took / MOST_OF_THE_TIME)

    @never_fails
    def _send(self) -> None:
        status = status_of(self._store)
        self._id = send_progress(self._id, self._key, 100 * status.share, status_markdown(status))


def status_markdown(status: Status) -> str:
    """A study's status as text and two tables."""
    left = f"About {duration(status.left)} of work left in what can be told." if status.left else ""
    steps = [
        {
            "experiment": step.experiment,
            "table": step.table,
            "parts": f"{step.parts}/{'?' if step.parts_expected is None else step.parts_expected}",
            "rows": f"{step.rows:,}",
            "expected": "" if step.rows_expected is None else f"{step.rows_expected:,}",
            "rows/s": "" if step.rate is None else f"{step.rate:,.3g}",
            "left": _left(step),
        }
        for step in status.steps
    ]
    workers = [
        {
            "worker": worker.worker,
            "at": worker.experiment,
            "parts": worker.parts,
            "rows": f"{worker.rows:,}",
            "rows/s": "" if worker.rate is None else f"{worker.rate:,.3g}",
            "last part": f"{duration(worker.quiet)} ago",
        }
        for worker in status.workers
    ]
    head = f"Study {status.study}: {status.state}, {status.share:.0%}. {left}".strip()
    tables = [markdown_table(rows) for rows in (steps, workers) if rows]
    return "\n\n".join([head, *tables, f"Folder: `{status.path}`"])


def _left(step: Step) -> str:
    if step.complete:
        return "done"
    return "an earlier experiment decides" if step.note else duration(step.left)
