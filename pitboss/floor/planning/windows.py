"""From when on, and with which margin, the patching can have each GPU."""

from collections.abc import Container, Iterable, Mapping

from pitboss.floor.memory.gpus import Gpu, Survey
from pitboss.floor.memory.thresholds import margin, occupancy, others, safety
from pitboss.floor.planning.job_placement import House
from pitboss.floor.planning.jobs import Patching
from pitboss.floor.planning.schedule import Window


def windows(
    survey: Survey,
    patching: Patching,
    house: House,
    growth: Mapping[int, int],
    sharing: Container[int] | None = None,
) -> tuple[list[Window], list[str]]:
    """Every way in which the patching can have a GPU with a margin that is at least marginal.

    A GPU on which a job of ours already runs can offer two: beside the job, and after it.

    Args:
        growth: Bytes by GPU that tenants may grow by.
        sharing: GPUs that a person allows to be shared; None: all of them.

    Returns:
        The windows in the order of the GPUs, and a sentence for each GPU that has none.
    """
    ready = max((house.relied[name] for name in patching.after), default=0.0)
    found: list[Window] = []
    refused: list[str] = []
    for gpu in survey.gpus:
        kind = patching.on(gpu.name)
        if occupancy(gpu) == "full":
            refused.append(f"GPU {gpu.index} is full: {gpu.free / 1e9:.1f} GB free.")
            continue
        if kind is None:
            refused.append(f"GPU {gpu.index}: nobody timed {patching.name} on {gpu.name}.")
            continue
        ways = [
            Window(
                gpu.index,
                opens,
                left,
                kind,
                waits,
                tenants,
                strangers,
                untimed=_untimed(house, (*patching.after, *waits)),
            )
            for opens, left, waits, tenants, strangers in _ways(gpu, patching, house, growth, ready)
            if opens < float("inf") and safety(left) != "no"
        ]
        allowed = [w for w in ways if not w.tenants or sharing is None or gpu.index in sharing]
        if not ways:
            left = margin(gpu, patching.footprint, growth.get(gpu.index, 0))
            refused.append(f"GPU {gpu.index}: {left / 1e9:.0f} GB would be left.")
        elif not allowed:
            refused.append(f"GPU {gpu.index} may not be shared with {', '.join(ways[0].tenants)}.")
        found.extend(allowed)
    return found, refused


def _untimed(house: House, names: Iterable[str]) -> tuple[str, ...]:
    """Jobs of unknown duration that the ends of these depend on."""
    return tuple(sorted(frozenset().union(*(house.untimed[name] for name in names))))


_Way = tuple[float, int, tuple[str, ...], tuple[str, ...], bool]


def _ways(
    gpu: Gpu, patching: Patching, house: House, growth: Mapping[int, int], ready: float
) -> list[_Way]:
    placed = house.on(gpu.index)
    opens = max([ready, *(house.relied[name] for name in placed)])
    left = margin(gpu, patching.footprint, growth.get(gpu.index, 0))
    labels = tuple(_label(t.user, t.label, t.ours) for t in gpu.tenants)
    tenants = () if occupancy(gpu) == "free" else labels or ("processes not listed",)
    running = house.running.get(gpu.index)
    if running is None:
        return [(opens, left, placed, tenants, others(gpu))]
    # It may be starting, and hold less than it will.
    beside = left - max(0, running.footprint - gpu.ours)
    strangers = tuple(_label(t.user, t.label, t.ours) for t in gpu.tenants if not t.ours)
    if others(gpu) and not strangers:
        strangers = ("processes not listed",)
    over = max(opens, house.relied[running.name])
    return [
        (opens, beside, placed, tenants or (f"{running.name} (ours)",), others(gpu)),
        (over, left + gpu.ours, (*placed, running.name), strangers, others(gpu)),
    ]


def _label(user: str | None, label: str, ours: bool) -> str:
    return f"{label} ({'ours' if ours else user or 'unknown user'})"
