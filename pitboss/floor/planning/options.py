"""Where the shared job may run: the plan's three ways, and an elastic one, with times and risks.

A  the empty GPUs, when all our other jobs there are over
B  the same, and GPUs that our own running jobs leave
C  the shared GPUs, at once
D  elastic: chunks flow to every GPU that is empty or safe to share, from when each is free
E  elastic, and GPUs with a marginal margin too

Where no job is shared there is one option: each job on the GPU that `job_placement` gave it.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.planning.job_placement import Placed, place
from pitboss.floor.planning.jobs import Chunk, SharedJob, Work
from pitboss.floor.planning.placement import Option, Placement, Window
from pitboss.floor.planning.reasons import describe, recommendation
from pitboss.floor.planning.schedule import Shares, dealt, end, flow
from pitboss.floor.planning.windows import windows
from pitboss.formats import gb


@dataclass(frozen=True)
class Proposal:
    """What a person is asked to choose from; plain data that can be stored and shown.

    Attributes:
        shared: Name of the job that the options differ in; empty where there is none.
        besides: Where the other jobs go; the same in every option.
        recommended: Letter of an option. reason: Why.
        notes: GPUs that are not used, jobs that found no place, and why.
    """

    survey: Survey
    shared: str
    besides: tuple[Placement, ...]
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
        BadInput: The shared job, or one it needs, fits on no GPU; or no job is shared and one fits
            on no GPU.
    """
    growth, shared, following = growth or {}, work.shared, work.following
    placed = place(survey, tuple(job for job in work.jobs if job not in following), growth)
    needed = shared.after if shared else [job.name for job in work.jobs]
    if missing := [name for name in needed if name not in placed.ends]:
        raise BadInput(
            f"{shared.name if shared else 'The study'} needs {', '.join(missing)}, which cannot be "
            f"placed. {' '.join(placed.unplaced)}",
            where=survey.source,
            next="Wait for memory, or lower engine.memory_gb.",
        )
    if shared is None:
        apart = _option("A", "each experiment on one GPU", placed.placements, elastic=False)
        return _proposal(survey, None, (), [apart], placed.unplaced)
    ways, refused = windows(survey, shared, placed, growth, sharing)
    last = (f"{job.name} follows {shared.name}, on its GPUs." for job in following)
    notes = (*placed.unplaced, *refused, *last)
    if not ways:
        raise BadInput(
            f"{shared.name} fits on no GPU: it takes {gb(shared.footprint)}. {' '.join(notes)}",
            where=survey.source,
            next="Wait for memory, allow a GPU to be shared, or lower engine.memory_gb.",
        )
    fixed = _fixed(shared, placed, ways)
    options = [*fixed, *_flowing(shared, ways, fixed)]
    return _proposal(survey, shared, placed.placements, options, notes)


def _proposal(
    survey: Survey,
    shared: SharedJob | None,
    besides: tuple[Placement, ...],
    options: Sequence[Option],
    notes: tuple[str, ...],
) -> Proposal:
    described = tuple(describe(option, shared) for option in options)
    letter, reason = recommendation(described)
    name = shared.name if shared else ""
    return Proposal(survey, name, besides, described, letter, reason, notes)


def _fixed(shared: SharedJob, placed: Placed, ways: Sequence[Window]) -> list[Option]:
    """Options in which each GPU has its own layers and all start together."""
    empty = [w for w in ways if not w.sharers and w.gpu not in placed.running]
    left = [w for w in ways if not w.sharers and w.gpu in placed.running]
    beside = _earliest(ways, lambda window: bool(window.sharers) and not placed.on(window.gpu))
    made = []
    if empty:
        made.append(_static("A", "safety first: empty GPUs only", shared, empty))
    if left:
        every = sorted((*empty, *left), key=lambda window: window.gpu)
        made.append(_static("B", "balanced: also what our running jobs leave", shared, every))
    if beside:
        made.append(_static("C", "speed: shared GPUs at once", shared, beside))
    return made


def _static(letter: str, title: str, shared: SharedJob, ways: Sequence[Window]) -> Option:
    starts = max(window.opens for window in ways)
    given = dealt(shared.features, ways, shared.parts)
    placements = []
    for window in ways:
        layers = given.get(window.gpu, ())
        if not layers:
            continue
        chunks = tuple(chunk for chunk in shared.chunks() if chunk.layer in layers)
        span = (layers[0], layers[-1])
        placement = _placement(shared, window, f"{span[0]}-{span[1]}", chunks)
        ends = starts + shared.stated.get(span, placement.takes_h)
        placements.append(replace(placement, start_h=starts, end_h=ends))
    return _option(letter, title, placements, elastic=False)


def _flowing(shared: SharedJob, ways: Sequence[Window], fixed: Sequence[Option]) -> list[Option]:
    """The elastic options: with safe and empty GPUs only, then with marginal ones too."""
    careful = _earliest(ways, lambda window: not window.sharers or window.safety == "safe")
    daring = _earliest(ways, lambda window: True)
    made = []
    if careful:
        title = "elastic: empty and safely shared GPUs, each as soon as it is free"
        made.append(_elastic("D", title, shared, careful, fixed))
    if daring != careful:
        title = "elastic, marginal GPUs too"
        made.append(_elastic("E", title, shared, daring, fixed))
    return made


def _earliest(ways: Sequence[Window], wanted: Callable[[Window], bool]) -> list[Window]:
    """For each GPU the first of its windows that is wanted."""
    first: dict[int, Window] = {}
    for window in filter(wanted, ways):
        if window.gpu not in first or window.opens < first[window.gpu].opens:
            first[window.gpu] = window
    return [first[gpu] for gpu in sorted(first)]


def _elastic(
    letter: str, title: str, shared: SharedJob, ways: Sequence[Window], fixed: Sequence[Option]
) -> Option:
    """Simulate chunks that flow to whoever is free.

    Any fixed division of the same GPUs is one the flow could take too. Where unequal rests of
    layers make one better than the rule (by less than a chunk), it is taken.
    """
    candidates: list[Shares] = [flow(shared.chunks(), ways)]
    opens = {window.gpu: window.opens for window in ways}
    for option in fixed:
        if all(p.start_h >= opens.get(p.gpu, float("inf")) for p in option.placements):
            candidates.append({p.gpu: list(p.chunks) for p in option.placements})
    shares = min(candidates, key=lambda candidate: end(candidate, ways))
    placements = [
        _placement(shared, window, "any", tuple(shares[window.gpu]))
        for window in ways
        if shares.get(window.gpu)
    ]
    return _option(letter, title, placements, elastic=True)


def _placement(
    shared: SharedJob, window: Window, layers: str, chunks: tuple[Chunk, ...]
) -> Placement:
    return Placement(
        **vars(window),
        job=shared.name,
        footprint=shared.footprint,
        start_h=window.opens,
        end_h=window.opens + window.hours(sum(chunk.size for chunk in chunks)),
        layers=layers,
        chunks=chunks,
    )


def _option(letter: str, title: str, placements: Sequence[Placement], *, elastic: bool) -> Option:
    starts = min((placement.start_h for placement in placements), default=0.0)
    ends = max((placement.end_h for placement in placements), default=0.0)
    return Option(letter, title, tuple(placements), starts, ends - starts, elastic)
