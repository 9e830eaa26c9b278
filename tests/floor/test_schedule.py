"""Division of chunks and layers against what an exhaustive or ideal division would reach."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.floor.planning.jobs import Chunk, Speed
from pitboss.floor.planning.placement import Window
from pitboss.floor.planning.schedule import dealt, end, even, flow

Windows = list[Window]


@st.composite
def windows(draw: st.DrawFn, *, opens: bool = True, most: int = 5) -> Windows:
    count = draw(st.integers(1, most))
    return [
        Window(
            gpu,
            draw(st.floats(0, 50)) if opens else 0.0,
            30_000_000_000,
            Speed(draw(st.floats(1, 500)), "pilot"),
        )
        for gpu in range(count)
    ]


@settings(deadline=None)
@given(windows(), st.integers(1, 60), st.integers(1, 100))
def test_equal_chunks_flow_optimally(seats: Windows, count: int, size: int) -> None:
    chunks = [Chunk(1, n * size, size) for n in range(count)]
    # No division can do better: these are the earliest ends that so many chunks can have.
    ends = sorted(w.opens + w.hours(size) * n for w in seats for n in range(1, count + 1))
    assert abs(end(flow(chunks, seats), seats) - ends[count - 1]) < 1e-9 * ends[count - 1]


@settings(deadline=None)
@given(windows(), st.lists(st.integers(1, 100), min_size=1, max_size=60))
def test_unequal_chunks_flow_within_a_chunk_of_the_ideal(seats: Windows, sizes: list[int]) -> None:
    chunks = [Chunk(layer, 0, size) for layer, size in enumerate(sizes)]
    found = end(flow(chunks, seats), seats)
    # The ideal: work that can be divided at will, all GPUs ending together.
    low, high = 0.0, max(w.opens + w.hours(sum(sizes)) for w in seats)
    for _ in range(100):
        middle = (low + high) / 2
        done = sum(max(0.0, middle - w.opens) / w.hours(1) for w in seats)
        low, high = (middle, high) if done < sum(sizes) else (low, middle)
    speed = sum(1 / w.hours(1) for w in seats if w.opens < high)
    others = sum(w.opens < found for w in seats) - 1
    assert found <= (high + others * max(sizes) / speed) * (1 + 1e-9)


@settings(deadline=None)
@given(windows(opens=False, most=4), st.lists(st.integers(1, 300), min_size=1, max_size=7))
def test_layers_are_divided_as_evenly_as_can_be(seats: Windows, counts: list[int]) -> None:
    layers = dict(enumerate(counts, start=1))
    given_ = even(layers, seats)
    assert sorted(x for span in given_.values() for x in span) == list(layers)
    assert all(list(span) == list(range(span[0], span[-1] + 1)) for span in given_.values())
    found = max(seats[gpu].hours(sum(layers[x] for x in span)) for gpu, span in given_.items())
    best = min(
        max(
            window.hours(sum(counts[first:last]))
            for window, first, last in zip(seats, (0, *cuts), (*cuts, len(counts)), strict=True)
        )
        for cuts in (
            tuple(cut - n for n, cut in enumerate(marks))
            for marks in combinations(range(len(counts) + len(seats) - 1), len(seats) - 1)
        )
    )
    assert found <= best * (1 + 1e-9)


def test_a_plans_parts_are_dealt_in_order_and_the_last_gpu_takes_the_rest() -> None:
    layers = dict.fromkeys(range(1, 32), 300)
    parts = [(1, 8), (9, 16), (17, 24), (25, 31)]
    seats = [Window(gpu, 0.0, 0, Speed(1, "plan")) for gpu in (2, 5, 6)]
    spans = {gpu: (x[0], x[-1]) for gpu, x in dealt(layers, seats, parts).items()}
    assert spans == {2: (1, 8), 5: (9, 16), 6: (17, 31)}
    assert dealt(layers, seats[:1], parts) == {2: tuple(range(1, 32))}
    five = [Window(gpu, 0.0, 0, Speed(1, "plan")) for gpu in range(5)]
    assert [len(x) for x in dealt(layers, five, parts).values()] == [7, 7, 7, 7, 3]
    assert dealt({1: 300, 40: 300}, seats, parts) == even({1: 300, 40: 300}, seats)
