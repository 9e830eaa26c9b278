"""What counts as a changed floor, said in words."""

from collections.abc import Collection, Sequence

from pitboss.floor.memory.gpus import Gpu, Survey
from pitboss.floor.memory.thresholds import MARGINAL_FROM, occupancy, safety
from pitboss.floor.planning.offers import HIDDEN, Use, tenants_of, who

# Left to the other tenants whatever we do; the same number that divides marginal from no.
RESERVE = MARGINAL_FROM


def changes(before: Survey, now: Survey, uses: Sequence[Use]) -> list[str]:
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
            found += _of_gpu(was[index], is_[index], [use for use in uses if use.gpu == index])
    return found


def _of_gpu(was: Gpu, is_: Gpu, uses: Sequence[Use]) -> list[str]:
    name, found = f"GPU {was.index}", []
    if occupancy(was) != occupancy(is_):
        found.append(f"{name} was {occupancy(was)} and is {occupancy(is_)}.")
    came, went = set(tenants_of(is_)) - set(tenants_of(was)), set(tenants_of(was))
    went -= set(tenants_of(is_))
    found += [f"{label} came to {name}." for label in sorted(came)]
    found += [f"{label} left {name}." for label in sorted(went)]
    for footprint in sorted({use.footprint for use in uses}):
        before, after = safety(was.free - footprint), safety(is_.free - footprint)
        if before != after:
            found.append(
                f"On {name}, a job of {_gb(footprint)} was {before} and is {after}: "
                f"{_gb(is_.free)} are free now, {_gb(was.free)} were."
            )
    return found


def too_little(
    before: Survey, now: Survey, uses: Sequence[Use], approved: Collection[int]
) -> list[str]:
    """Why approved GPUs cannot be used now: gone, with a new tenant, or without enough memory."""
    found, there = [], {gpu.index: gpu for gpu in now.gpus}
    for index in sorted(approved):
        if index not in there:
            found.append(f"GPU {index} is not there any more.")
            continue
        gpu, own = there[index], [use for use in uses if use.gpu == index]
        strangers = _others(gpu, now) - set(tenants_of(before.gpu(index)))
        found += [f"{label} came to GPU {index}." for label in sorted(strangers)]
        footprint = max((use.footprint for use in own if use.starts_h <= 0), default=0)
        room = room_for_us(gpu, now)
        if footprint and room < footprint + RESERVE:
            found.append(
                f"GPU {index} has room for {_gb(room)}; the job takes {_gb(footprint)} and "
                f"{_gb(RESERVE)} stay with the others."
            )
    return found


def room_for_us(gpu: Gpu, survey: Survey) -> int:
    """Bytes that others leave: what is free and what Pitboss' own runs hold already.

    In a file, `ours` also marks other jobs of ours, which must not be disturbed.
    """
    return gpu.free + (gpu.ours if survey.source == "nvml" else 0)


def _others(gpu: Gpu, survey: Survey) -> set[str]:
    """Everybody else by name. Hidden processes may be our own; their memory counts all the same."""
    if survey.source != "nvml":
        return set(tenants_of(gpu)) - {HIDDEN}
    return {who(tenant) for tenant in gpu.tenants if not tenant.ours}


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
