"""Where the patching may run: the plan's three ways, and an elastic one, with times and risks.

A  the empty GPUs, when all our other jobs there are over
B  the same, and GPUs that our own running jobs leave
C  the shared GPUs, at once
D  elastic: chunks flow to every GPU that is empty or safe to share, from when each is free
E  elastic, and GPUs with a marginal margin too
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.planning.job_placement import House, place
from pitboss.floor.planning.jobs import Chunk, Patching, Work
from pitboss.floor.planning.placement import Option, Placement
from pitboss.floor.planning.schedule import Shares, Window, dealt, end, flow
from pitboss.floor.planning.windows import windows
from pitboss.floor.planning.words import describe, recommendation


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a person is asked to choose from.

    Attributes:
        house: Where the other experiments go; the same in every option.
        recommended: Letter of an option. reason: Why.
        notes: GPUs that are not used, jobs that found no place, and why.
    """

    survey: Survey
    work: Work
    house: House
    options: tuple[Option, ...]
    recommended: str
    reason: str
    notes: tuple[str, ...]

    def option(self, letter: str) -> Option:
        """The option of a letter; raises BadInput naming those there are."""
        for option in self.options:
            if option.letter == letter:
                return option
        letters = ", ".join(option.letter for option in self.options)
        raise BadInput(f"There is no option {letter!r}.", next=f"Choose one of {letters}.")


def propose(
    survey: Survey,
    work: Work,
    growth: Mapping[int, int] | None = None,
    sharing: Container[int] | None = None,
) -> Proposal:
    """Work out the options.

    Args:
        growth: Bytes by GPU that tenants may grow by (`history.growths`); None: not known.
        sharing: GPUs that a person allows to be shared; None: nobody was asked yet, so all.

    Raises:
        BadInput: The patching, or a job it needs, fits on no GPU.
    """
    growth, patching = growth or {}, work.patching
    # What needs the patching's own results comes after it.
    late = tuple(job for job in work.jobs if patching.name in job.after)
    house = place(survey, tuple(job for job in work.jobs if job not in late), growth)
    if missing := [name for name in patching.after if name not in house.relied]:
        raise BadInput(
            f"{patching.name} needs {', '.join(missing)}, which cannot be placed. "
            + " ".join(house.unplaced),
            where=survey.source,
            next="Wait for memory, or lower engine.memory_gb.",
        )
    ways, refused = windows(survey, patching, house, growth, sharing)
    notes = (*house.unplaced, *refused, *(f"{job.name} follows {patching.name}." for job in late))
    if not ways:
        raise BadInput(
            f"{patching.name} fits on no GPU: it takes {patching.footprint / 1e9:.1f} GB. "
            + " ".join(notes),
            where=survey.source,
            next="Wait for memory, allow a GPU to be shared, or lower engine.memory_gb.",
        )
    fixed = _fixed(patching, house, ways)
    flowing = _flowing(patching, ways, fixed)
    options = tuple(describe(option, patching) for option in (*fixed, *flowing))
    letter, reason = recommendation(options)
    return Proposal(survey, work, house, options, letter, reason, notes)


def _fixed(patching: Patching, house: House, ways: Sequence[Window]) -> list[Option]:
    """Options in which each GPU has its own layers and all start together."""
    empty = [w for w in ways if not w.tenants and w.gpu not in house.running]
    left = [w for w in ways if not w.tenants and w.gpu in house.running]
    shared = _earliest(ways, lambda window: bool(window.tenants) and not house.on(window.gpu))
    made = []
    if empty:
        made.append(_static("A", "safety first: empty GPUs only", patching, empty))
    if left:
        every = sorted((*empty, *left), key=lambda window: window.gpu)
        made.append(_static("B", "balanced: also what our running jobs leave", patching, every))
    if shared:
        made.append(_static("C", "speed: shared GPUs at once", patching, shared))
    return made


def _static(letter: str, title: str, patching: Patching, seats: Sequence[Window]) -> Option:
    starts = max(window.opens for window in seats)
    given = dealt(patching.features, seats, patching.parts)
    placements = []
    for window in seats:
        layers = given.get(window.gpu, ())
        if not layers:
            continue
        chunks = tuple(chunk for chunk in patching.chunks() if chunk.layer in layers)
        span = (layers[0], layers[-1])
        hours = window.hours(sum(chunk.size for chunk in chunks))
        stated = patching.stated.get(span)
        placement = _placement(patching, window, f"{span[0]}-{span[1]}", chunks)
        ends = starts + (hours if stated is None else stated)
        placements.append(replace(placement, start_h=starts, end_h=ends))
    return _option(letter, title, placements, elastic=False)


def _flowing(patching: Patching, ways: Sequence[Window], fixed: Sequence[Option]) -> list[Option]:
    """The elastic options: with safe and empty GPUs only, then with marginal ones too."""
    careful = _earliest(ways, lambda window: not window.tenants or window.safety == "safe")
    daring = _earliest(ways, lambda window: True)
    made = []
    if careful:
        title = "elastic: empty and safely shared GPUs, each as soon as it is free"
        made.append(elastic("D", title, patching, careful, fixed))
    if daring != careful:
        title = "elastic, marginal GPUs too"
        made.append(elastic("E", title, patching, daring, fixed))
    return made


def _earliest(ways: Sequence[Window], wanted: Callable[[Window], bool]) -> list[Window]:
    """For each GPU the first of its windows that is wanted."""
    first: dict[int, Window] = {}
    for window in filter(wanted, ways):
        if window.gpu not in first or window.opens < first[window.gpu].opens:
            first[window.gpu] = window
    return [first[gpu] for gpu in sorted(first)]


def elastic(
    letter: str,
    title: str,
    patching: Patching,
    seats: Sequence[Window],
    fixed: Sequence[Option] = (),
) -> Option:
    """Simulate chunks that flow to whoever is free.

    Any fixed division of the same GPUs is one the flow could take too. Where unequal rests of
    layers make one better than the rule (by less than a chunk), it is taken.
    """
    candidates: list[Shares] = [flow(patching.chunks(), seats)]
    opens = {window.gpu: window.opens for window in seats}
    for option in fixed:
        if all(p.start_h >= opens.get(p.gpu, float("inf")) for p in option.placements):
            candidates.append({p.gpu: list(p.chunks) for p in option.placements})
    shares = min(candidates, key=lambda candidate: end(candidate, seats))
    placements = [
        _placement(patching, window, "any", tuple(shares[window.gpu]))
        for window in seats
        if shares.get(window.gpu)
    ]
    return _option(letter, title, placements, elastic=True)


def _placement(
    patching: Patching, window: Window, layers: str, chunks: tuple[Chunk, ...]
) -> Placement:
    return Placement(
        job=patching.name,
        gpu=window.gpu,
        layers=layers,
        start_h=window.opens,
        end_h=window.opens + window.hours(sum(chunk.size for chunk in chunks)),
        margin=window.margin,
        footprint=patching.footprint,
        speed=window.seconds,
        chunks=chunks,
        shared_with=window.tenants,
        others=window.others,
        waits_for=window.waits_for,
        untimed=window.untimed,
    )


def _option(letter: str, title: str, placements: Sequence[Placement], *, elastic: bool) -> Option:
    starts = min(placement.start_h for placement in placements)
    ends = max(placement.end_h for placement in placements)
    return Option(letter, title, tuple(placements), starts, ends - starts, elastic)


__all__ = ["Option", "Placement", "Proposal", "elastic", "propose"]
