"""A patching run without a model: real locks, claims and store, units that take a moment each.

It is named as the flow whose place it takes, because the reconciler looks at those alone.
"""

import time
from pathlib import Path
from typing import Any

from prefect import State, flow, runtime

from pitboss.floor.locks.claims import Queue
from tasks.worker import asked, hold_pool, left
from tests.floor.claimed import samples
from tests.store.samples import commit, store


@flow(name="patching")
def patching(folder: str, units: int, seconds: float) -> State[Any] | None:
    """Finish so many units of the store in a folder."""
    hold_pool()
    here = store(Path(folder))
    queue = Queue(here, samples(units), run=str(runtime.flow_run.id), stop=asked.to_leave)
    while claim := queue.take():
        with claim:
            time.sleep(seconds)
            commit(here, claim.unit.number)
    return left(queue.stopped, len(queue.left)) if queue.stopped else None
