"""How the workers of one experiment share its units: each takes what nobody works on."""

from collections.abc import Callable, Sequence
from typing import Any

from prefect import State, runtime
from prefect.logging import get_run_logger

from pitboss.experiments.runtime.experiment import Experiment
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.unit import Unit
from pitboss.floor.locks.claims import Queue
from tasks.artifacts import Progress
from tasks.model import DoesNotFit, left_to_others
from tasks.parts import task_of
from tasks.policies import is_out_of_memory, unless_stored
from tasks.worker import asked, left


def share(
    plan: Plan,
    experiment: Experiment[Any],
    work: Sequence[Unit],
    bar: Progress,
    finished: Callable[[Unit], None],
) -> State[Any] | None:
    """Carry out units until all are finished, by whomever, or until this run is asked to leave.

    A run of an experiment that is not elastic does not leave when its pool is paused: nobody else
    would go on with it.

    Args:
        work: All units, in the order in which this run would take them.
        bar: Follows the finished units of all workers.
        finished: Called after each unit that this run finished.

    Returns:
        The state in which a run that was asked to leave ends; None when all units are finished.

    Raises:
        DoesNotFit: Some units fit here at no number of requests, and nobody else finished them.
    """
    stop = asked.to_leave if experiment.settings.elastic else str
    queue = Queue(plan.store, work, run=str(runtime.flow_run.id), stop=stop)
    while claim := queue.take():
        bar.reach(len(work) - len(queue.left), note=claim.unit.slug)
        try:
            with claim:
                unless_stored(task_of(claim.unit), plan, claim.unit)
        except DoesNotFit as error:
            get_run_logger().error("%s is left to other workers: %s", claim.unit.slug, error)
            queue.give_up(claim.unit)
            continue
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            continue  # taken again, here with fewer requests at once or by another worker
        finished(claim.unit)
    if queue.stopped:
        return left(queue.stopped, len(queue.left))
    left_to_others(queue.given_up)
    bar.reach(len(work))
    return None
