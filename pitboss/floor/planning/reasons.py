"""Options in words: what speaks for and against each, what can go wrong, and which one to take."""

from collections.abc import Sequence
from dataclasses import replace

from pitboss.floor.planning.jobs import ANY, SharedJob
from pitboss.floor.planning.placement import Option, Placement, Window
from pitboss.floor.planning.schedule import end, even

# Stated hours that differ by more than this from the stated rate are said to contradict it.
_CONTRADICTION = 0.05


def days(hours: float) -> str:
    """Hours as people say them: "7.1 days", "4.0 hours", "12 minutes"."""
    if hours >= 36:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"


def at_least(hours: float, untimed: Sequence[str]) -> str:
    """The same where it may be later, because nobody knows how long these jobs take."""
    return f"at least {days(hours)}" if untimed else days(hours)


def start(hours: float, untimed: Sequence[str]) -> str:
    """When something starts: "now", "in 1.5 days", "after features-llama"."""
    if hours <= 0:
        return f"after {', '.join(untimed)}" if untimed else "now"
    return f"in {at_least(hours, untimed)}"


def describe(option: Option, shared: SharedJob | None) -> Option:
    """The option with its risk, pros and cons."""
    return replace(
        option,
        risk=" ".join(_risks(option, shared)),
        pros=tuple(_pros(option)),
        cons=tuple(_cons(option, shared)),
    )


def _risks(option: Option, shared: SharedJob | None) -> list[str]:
    said = []
    if option.marginal:
        each = "; ".join(
            f"GPU {p.gpu} keeps {p.margin / 1e9:.0f} GB beside {', '.join(p.shared_with)}"
            for p in option.marginal
        )
        said.append(f"Marginal: {each}. When they grow, our job has to shrink or leave.")
    secure = [p for p in option.placements if p.others and p.safety == "safe"]
    if secure:
        said.append(f"{_gpus(secure)} shared with others, with a safe margin by what they did.")
    for placement in option.placements:
        if placement.sharers and not placement.others:
            said.append(f"GPU {placement.gpu} beside {', '.join(placement.shared_with)}.")
    if waits := sorted({name for p in option.placements for name in p.waits_for}):
        said.append(f"Relies on the ends of {', '.join(waits)}.")
    if shared and option.elastic and (sharing := [p for p in option.placements if p.others]):
        said.append(_without(option, sharing, shared))
    return said or ["Nobody else uses these GPUs."]


def _without(option: Option, sharing: Sequence[Placement], shared: SharedJob) -> str:
    """What remains of an elastic option when all others want their GPUs back at once."""
    rest = [p for p in option.placements if p not in sharing]
    if not rest:
        return "If the others took all these GPUs back, it would wait."
    # Fluid: chunks flow, so the remaining GPUs end within a chunk of one another.
    speeds = {p.gpu: 3600 / p.speed.value for p in rest}
    low, high = 0.0, max(p.start_h for p in rest) + shared.total / min(speeds.values())
    for _ in range(60):
        middle = (low + high) / 2
        done = sum(max(0.0, middle - p.start_h) * speeds[p.gpu] for p in rest)
        low, high = (middle, high) if done < shared.total else (low, middle)
    return f"If the others took theirs back at once, the rest would end after {days(high)}."


def _pros(option: Option) -> list[str]:
    said = []
    if option.starts_h == 0:
        said.append("starts now")
    if not any(p.others for p in option.placements):
        said.append("nobody else is on these GPUs")
    elif not option.marginal:
        said.append("every margin is safe")
    if option.elastic:
        said.append("no GPU idles and none holds the end up")
        said.append("a GPU can join or leave at any chunk")
    return said


def _cons(option: Option, shared: SharedJob | None) -> list[str]:
    said = []
    if option.starts_h > 0:
        said.append(f"starts after {at_least(option.starts_h, option.untimed)}")
    if option.untimed:
        said.append(f"nobody timed {', '.join(option.untimed)}: it ends later by what that takes")
    if option.marginal:
        said.append(f"{_gpus(option.marginal)} marginal")
    if option.elastic or shared is None:
        return said
    uneven = _better(option, shared)
    if uneven is not None:
        worst = max(option.placements, key=lambda p: p.takes_h)
        said.append(
            f"GPU {worst.gpu} does {worst.features:,} of {shared.total:,} features; divided "
            f"evenly it would take {days(uneven)}"
        )
    said.extend(_contradictions(option, shared))
    return said


def _better(option: Option, shared: SharedJob) -> float | None:
    """Hours of an even division of the same GPUs, where it saves more than a twentieth."""
    ways = [Window(p.gpu, 0.0, p.margin, p.speed) for p in option.placements]
    shares = {
        gpu: [chunk for chunk in shared.chunks() if chunk.layer in layers]
        for gpu, layers in even(shared.features, ways).items()
    }
    hours = end(shares, ways)
    return hours if hours < 0.95 * option.takes_h else None


def _contradictions(option: Option, shared: SharedJob) -> list[str]:
    """Stated hours of a part that its own rate does not give."""
    rate, said = shared.on(ANY), []
    if rate is None:
        return []
    for placement in option.placements:
        hours = placement.features * rate.value / 3600
        if abs(placement.takes_h - hours) > _CONTRADICTION * hours:
            said.append(
                f"{days(placement.takes_h)} for layers {placement.layers} is the plan's figure; at "
                f"its rate for the other parts ({rate.value:.0f} s a feature) it is {days(hours)}"
            )
    return said


def _gpus(placements: Sequence[Placement]) -> str:
    indices = ", ".join(str(p.gpu) for p in placements)
    return f"GPU{'s' if len(placements) > 1 else ''} {indices}"


def recommendation(options: Sequence[Option]) -> tuple[str, str]:
    """The letter of the option to take, and why.

    Of the options that leave every tenant a safe margin the one that ends first; of equal ones the
    one that shares fewer GPUs. Only where there is none, the first of all to end.
    """
    careful = [option for option in options if not option.marginal]
    chosen = min(careful or options, key=_rank)
    said = f"Option {chosen.letter} ends after {at_least(chosen.ends_h, chosen.untimed)}"
    said += " with safe margins only" if careful else ", but no option has safe margins only"
    others = [option for option in options if option is not chosen]
    for option in sorted(others, key=lambda option: option.ends_h):
        gap = option.ends_h - chosen.ends_h
        side = f"{days(abs(gap))} {'later' if gap >= 0 else 'earlier'}"
        extra = f", with {_gpus(option.marginal)} marginal" if option.marginal else ""
        said += f"; {option.letter} ends {side}{extra}"
    return chosen.letter, said + "."


def _rank(option: Option) -> tuple[float, int, str]:
    return option.ends_h, sum(p.others for p in option.placements), option.letter
