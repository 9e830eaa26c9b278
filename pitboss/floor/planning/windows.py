"""From when on, and with which margin, the shared job can have each GPU."""

from collections.abc import Container, Iterator, Mapping

from pitboss.floor.memory.gpus import Gpu, Survey, Tenant
from pitboss.floor.memory.thresholds import margin, occupancy, sharers
from pitboss.floor.planning.job_placement import Placed
from pitboss.floor.planning.jobs import SharedJob, Speed
from pitboss.floor.planning.placement import Window
from pitboss.formats import gb


def windows(
    survey: Survey,
    shared: SharedJob,
    placed: Placed,
    growth: Mapping[int, int],
    sharing: Container[int] | None = None,
) -> tuple[list[Window], list[str]]:
    """Every way in which the shared job can have a GPU with a margin that is at least marginal.

    A GPU on which a job of ours already runs can offer two: beside the job, and after it.

    Args:
        placed: Where the other jobs are.
        growth: Bytes by GPU that tenants may grow by.
        sharing: GPUs that a person allows to be shared; None: all of them.

    Returns:
        The windows in the order of the GPUs, and a sentence for each GPU that has none.
    """
    found: list[Window] = []
    refused: list[str] = []
    for gpu in survey.gpus:
        speed = shared.on(gpu.name)
        left = margin(gpu, shared.footprint, growth.get(gpu.index, 0))
        if occupancy(gpu) == "full":
            refused.append(f"GPU {gpu.index} is full: {gb(gpu.free)} free.")
            continue
        if speed is None:
            refused.append(f"GPU {gpu.index}: nobody timed {shared.name} on {gpu.name}.")
            continue
        ways = [
            way
            for way in _ways(gpu, shared, speed, placed, left)
            if way.opens < float("inf") and way.safety != "no"
        ]
        allowed = [w for w in ways if not w.sharers or sharing is None or gpu.index in sharing]
        if not ways:
            refused.append(f"GPU {gpu.index}: {left / 1e9:.0f} GB would be left.")
        elif not allowed:
            them = ", ".join(ways[0].shared_with)
            refused.append(f"GPU {gpu.index} may not be shared with {them}.")
        found.extend(allowed)
    return found, refused


def _ways(gpu: Gpu, shared: SharedJob, speed: Speed, placed: Placed, left: int) -> Iterator[Window]:
    def window(margin: int, waits_for: tuple[str, ...], there: tuple[Tenant, ...]) -> Window:
        over = placed.all_over((*shared.after, *waits_for))
        untimed = tuple(sorted(over.untimed))
        return Window(gpu.index, over.relied, margin, speed, waits_for, there, untimed)

    before, there = placed.on(gpu.index), sharers(gpu)
    running = placed.running.get(gpu.index)
    if running is None:
        yield window(left, before, there)
        return
    # It may be starting, and hold less than it will.
    beside = left - max(0, running.footprint - gpu.ours)
    itself = Tenant(None, None, running.name, None, ours=True)
    yield window(beside, before, there or (itself,))
    strangers = tuple(tenant for tenant in there if not tenant.ours)
    yield window(left + gpu.ours, (*before, running.name), strangers)
