"""What `python -m bench.floor` shows: several lanes are faster, one gives way, one is killed."""

import time
from typing import Any

from bench.clock import rounded
from bench.floor_lanes import PATIENCE, Failed, Floor, show
from bench.floor_tenant import Tenant


def scaling(floor: Floor) -> dict[str, Any]:
    """The same chunks with one lane, then with all."""
    show(f"one lane: {floor.told['chunks']} chunks")
    one = floor.work("one", floor.workers[:1])
    floor.alone = floor.files("one")
    show(f"one lane took {one['seconds']} s")
    every = floor.work("all", floor.workers)
    times = rounded(one["seconds"] / every["seconds"])
    show(f"{len(floor.workers)} lanes took {every['seconds']} s: {times} times as fast")
    return {"one": one, "all": every, "times_as_fast": times, "same": floor.compare("all")}


def tenant(floor: Floor) -> dict[str, Any]:
    """Somebody grows on the last lane's device until the model is parked, then leaves."""
    worker, began, passes, same = floor.workers[-1], time.time(), 0, True
    visitor, steps = Tenant(worker), 0
    first = since = len(worker.events)

    def at_work() -> int:
        """Keep the lane at work; returns since when it is in this folder."""
        nonlocal passes, same, since
        if passes and not worker.said("done", since):
            return since
        if passes:
            same &= floor.compare(f"tenant-{passes}")
        passes += 1
        since = worker.tell(floor.home / f"tenant-{passes}", 1)
        return since

    try:
        worker.wait("took", at_work())
        time.sleep(1)
        steps = visitor.first()
        show(f"a tenant comes and takes {steps} steps, then one a second")
        visitor.take(steps)
        end = time.monotonic() + PATIENCE
        while not worker.said("guard", first, " park "):
            if time.monotonic() > end:
                raise Failed("the lane did not leave its device")
            if visitor.may_grow():
                visitor.take(1)
                steps += 1
            at_work()
            time.sleep(0.5)
        time.sleep(3)
        show(f"the tenant gives its {steps} steps back")
        visitor.take(-1)
        worker.wait("guard", first, " return ")
        worker.wait("done", since)
    finally:
        visitor.leave()
    same &= floor.compare(f"tenant-{passes}")
    guard = [
        {"after_s": rounded(event["at"] - began), "said": event["said"]}
        for event in worker.said("guard", first)
    ]
    return {"steps": steps, "step_gb": visitor.step / 1e9, "guard": guard, "passes": passes,
            "tenant_met_no_error": True, "same": same}  # fmt: skip


def killed(floor: Floor) -> dict[str, Any]:
    """The last lane is killed in the middle of a chunk; another takes the chunk over."""
    name, last = "killed", floor.workers[-1]
    if len(floor.workers) == 1:
        raise Failed("one device only: nobody else could take the chunk over")
    lanes = floor.workers
    since = [worker.tell(floor.home / name, len(lanes)) for worker in lanes]
    last.wait("took", since[-1])  # at once: a small chunk takes less than a second
    key = last.said("took", since[-1])[-1]["key"]
    last.kill()
    at = time.time()
    show(f"lane {last.number} killed with chunk {key}")
    for worker, before in zip(lanes[:-1], since[:-1], strict=True):
        worker.wait("done", before)
    taken = [
        (event["at"] - at, worker.number)
        for worker, before in zip(lanes[:-1], since[:-1], strict=True)
        for event in worker.said("took", before)
        if event["key"] == key
    ]
    if not taken:
        raise Failed(f"nobody took {key} over")
    show(f"lane {taken[0][1]} took {key} over {taken[0][0]:.1f} s later")
    return {"chunk": key, "taken_over_after_s": rounded(taken[0][0]), "by_lane": taken[0][1],
            "same": floor.compare(name)}  # fmt: skip
