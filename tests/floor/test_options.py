"""What holds of every proposal on any floor."""

import math
from collections import Counter

from hypothesis import HealthCheck, assume, given, settings, target
from hypothesis import strategies as st

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.memory.thresholds import MARGINAL_FROM, occupancy
from pitboss.floor.planning.jobs import Work
from pitboss.floor.planning.options import Proposal, propose
from pitboss.floor.planning.placement import Option, Placement
from tests.floor.random_floors import cases

Case = tuple[Survey, Work, dict[int, int]]
thorough = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


def proposed(case: Case, sharing: set[int] | None = None) -> Proposal:
    floor, work, growth = case
    try:
        return propose(floor, work, growth, sharing)
    except BadInput:
        assume(False)
        raise


def at_once(placements: tuple[Placement, ...], gpu: int) -> list[list[Placement]]:
    """The placements that are on a GPU together, at each time at which one starts."""
    here = [p for p in placements if p.gpu == gpu]
    # A job of unknown duration is counted as no time: it is over when the next one starts.
    return [
        [q for q in here if q is p or (p.takes_h > 0 and q.start_h <= p.start_h < q.end_h)]
        for p in here
    ]


@thorough
@given(cases())
def test_memory_is_never_over_committed(case: Case) -> None:
    floor, work, growth = case
    proposal = proposed(case)
    running = {job.running_on: job for job in work.jobs if job.running_on is not None}
    for option in proposal.options:
        for gpu in floor.gpus:
            for together in at_once((*proposal.besides, *option.placements), gpu.index):
                ours = sum(p.footprint for p in together)
                held = gpu.used + growth[gpu.index]
                if gpu.index in running and running[gpu.index].name in together[-1].waits_for:
                    held -= gpu.ours  # it has ended by then
                assert ours + held + MARGINAL_FROM <= gpu.total
                assert all(p.margin <= gpu.total - ours - held for p in together)


@thorough
@given(cases())
def test_a_full_gpu_is_never_assigned(case: Case) -> None:
    proposal = proposed(case)
    full = {gpu.index for gpu in case[0].gpus if occupancy(gpu) == "full"}
    for option in proposal.options:
        assert not full & set(option.gpus)
    assert not full & {p.gpu for p in proposal.besides}


@thorough
@given(cases())
def test_every_feature_is_done_exactly_once(case: Case) -> None:
    shared = case[1].shared
    assert shared is not None
    wanted = {(layer, n) for layer, count in shared.features.items() for n in range(count)}
    for option in proposed(case).options:
        done = Counter(
            (chunk.layer, n)
            for placement in option.placements
            for chunk in placement.chunks
            for n in range(chunk.first, chunk.first + chunk.size)
        )
        assert set(done) == wanted and set(done.values()) == {1}
        assert all(c.size <= shared.chunk for p in option.placements for c in p.chunks)
        assert len(set(option.gpus)) == len(option.gpus)


@thorough
@given(cases())
def test_elastic_is_never_later_than_the_best_static_option(case: Case) -> None:
    options = proposed(case).options
    flowing = [option for option in options if option.elastic]
    fixed = [option for option in options if not option.elastic]
    target(float(len(fixed)))
    # The most daring elastic option has every GPU that any static one has.
    best = min(option.ends_h for option in fixed) if fixed else math.inf
    assert min(option.ends_h for option in flowing) <= best * (1 + 1e-9)
    # The careful one does as well as every static option with safe margins only.
    for option in fixed:
        if not option.marginal and flowing[0].letter == "D":
            assert flowing[0].ends_h <= option.ends_h * (1 + 1e-9)


@thorough
@given(cases())
def test_nothing_starts_before_what_it_waits_for(case: Case) -> None:
    proposal = proposed(case)
    ends = {p.job: p.end_h for p in proposal.besides}
    for option in proposal.options:
        for placement in option.placements:
            for name in placement.waits_for:
                assert placement.start_h >= ends.get(name, 0) * (1 - 1e-9)
            assert placement.start_h < math.inf and placement.takes_h > 0


@thorough
@given(cases(), st.sets(st.integers(0, 7)))
def test_only_allowed_gpus_are_shared(case: Case, sharing: set[int]) -> None:
    for option in proposed(case, sharing).options:
        assert {p.gpu for p in option.placements if p.sharers} <= sharing


@thorough
@given(cases())
def test_the_recommended_option_exists_and_is_careful_where_one_is(case: Case) -> None:
    proposal = proposed(case)
    chosen = proposal.option(proposal.recommended)
    careful: list[Option] = [option for option in proposal.options if not option.marginal]
    assert chosen in (careful or proposal.options)
    assert proposal.reason
