"""How the lanes of one experiment share its chunks: each takes what nobody works on."""

from collections.abc import Callable, Sequence
from typing import Any

from prefect import State, Task, runtime
from prefect.logging import get_run_logger

from pitboss.experiments.runtime.unit import Unit
from pitboss.floor.locks.claims import Queue
from pitboss.store import Store
from pitboss.studies.model import Study
from tasks.artifacts import Progress
from tasks.lane import asked, left
from tasks.model import DoesNotFit
from tasks.patch import left_to_others
from tasks.policies import is_out_of_memory, unless_stored


def share(
    chunk: Task[..., Any],
    settings: Study,
    store: Store,
    work: Sequence[Unit],
    bar: Progress,
    finished: Callable[[Study, Unit], None] | None = None,
) -> State[Any] | None:
    """Carry out chunks until all are finished, by whomever, or until this lane is asked to leave.

    Args:
        chunk: The task that carries out one unit.
        work: All units, in the order in which this lane would take them.
        bar: Follows the finished units of all lanes.
        finished: Called after each unit that this lane finished.

    Returns:
        The state in which a lane that was asked to leave ends; None when all units are finished.

    Raises:
        DoesNotFit: Some units fit here at no number of rows, and nobody else finished them.
    """
    queue = Queue(store, work, run=str(runtime.flow_run.id), stop=asked.to_leave)
    while claim := queue.take():
        bar.reach(len(work) - len(queue.left))
        try:
            with claim:
                unless_stored(chunk, settings, store, claim.unit)
        except DoesNotFit as error:
            get_run_logger().error("Chunk %s is left to other lanes: %s", claim.unit.slug, error)
            queue.give_up(claim.unit)
            continue
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            continue  # taken again, here with fewer rows at once or by another lane
        if finished is not None:
            finished(settings, claim.unit)
    if queue.stopped:
        return left(queue.stopped, len(queue.left))
    left_to_others(queue.given_up)
    bar.reach(len(work))
    return None
