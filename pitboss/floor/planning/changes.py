"""What counts as a changed floor, said in words."""

from collections.abc import Sequence

from pitboss.floor.memory.gpus import HIDDEN, Gpu, Survey, gb
from pitboss.floor.memory.thresholds import MARGINAL_FROM, occupancy, safety
from pitboss.floor.planning.placement import Placement


def changes(before: Survey, now: Survey, placements: Sequence[Placement]) -> list[str]:
    """How the floor differs from the one a person was shown, in ways that matter to the answer.

    A GPU's class or a job's safety on it changed, a tenant came or went, or there is not enough
    memory any more. A tenant that only moves within its class is no change.
    """
    found = []
    was, is_ = ({gpu.index: gpu for gpu in survey.gpus} for survey in (before, now))
    for index in sorted(was.keys() | is_.keys()):
        if index not in is_:
            found.append(f"GPU {index} is not there any more.")
        elif index not in was:
            found.append(f"GPU {index} is new.")
        else:
            here = {p.footprint for p in placements if p.gpu == index}
            found += _of_gpu(was[index], is_[index], sorted(here))
    return found


def _of_gpu(was: Gpu, is_: Gpu, footprints: Sequence[int]) -> list[str]:
    name, found = f"GPU {was.index}", []
    if occupancy(was) != occupancy(is_):
        found.append(f"{name} was {occupancy(was)} and is {occupancy(is_)}.")
    before, now = set(was.neighbours), set(is_.neighbours)
    found += [f"{label} came to {name}." for label in sorted(now - before)]
    found += [f"{label} left {name}." for label in sorted(before - now)]
    for footprint in footprints:
        then, today = safety(was.free - footprint), safety(is_.free - footprint)
        if then != today:
            found.append(
                f"On {name}, a job of {gb(footprint)} was {then} and is {today}: "
                f"{gb(is_.free)} are free now, {gb(was.free)} were."
            )
    return found


def too_little(before: Survey, now: Survey, placements: Sequence[Placement]) -> list[str]:
    """Why approved GPUs cannot be used now: gone, with a new tenant, or without enough memory.

    `MARGINAL_FROM` is left to the other tenants whatever we do.
    """
    found, there = [], {gpu.index: gpu for gpu in now.gpus}
    for index in sorted({p.gpu for p in placements}):
        if index not in there:
            found.append(f"GPU {index} is not there any more.")
            continue
        gpu = there[index]
        strangers = _others(gpu, now) - set(before.gpu(index).neighbours)
        found += [f"{label} came to GPU {index}." for label in sorted(strangers)]
        at_once = [p.footprint for p in placements if p.gpu == index and p.start_h <= 0]
        footprint, room = max(at_once, default=0), now.room(gpu)
        if footprint and room < footprint + MARGINAL_FROM:
            found.append(
                f"GPU {index} has room for {gb(room)}; the job takes {gb(footprint)} and "
                f"{gb(MARGINAL_FROM)} stay with the others."
            )
    return found


def _others(gpu: Gpu, survey: Survey) -> set[str]:
    """Everybody else by name. Hidden processes may be our own; their memory counts all the same."""
    if survey.live:
        return {tenant.who for tenant in gpu.tenants if not tenant.ours}
    return set(gpu.neighbours) - {HIDDEN}
