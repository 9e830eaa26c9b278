"""Dividing the shared job among GPUs: fixed parts of layers, or chunks for whoever is free.

Why no solver. All GPUs do the same chunks, each at its own speed, from its own time on. For equal
chunks, giving each to the GPU that ends it first is optimal: it takes the earliest of all possible
ends. Chunks are equal but for the rests of layers, and with those the end is within one chunk (at
the GPUs' mean speed) even of work that could be cut at will, so a solver has less than that to
gain. Nor could its answer be followed for days: GPUs leave when a tenant grows.
Contiguous parts for GPUs in a given order are divided optimally by bisection.
"""

from collections.abc import Iterable, Mapping, Sequence

from pitboss.floor.planning.jobs import Chunk
from pitboss.floor.planning.placement import Window

Shares = dict[int, list[Chunk]]


def flow(chunks: Iterable[Chunk], windows: Sequence[Window]) -> Shares:
    """Each chunk to the GPU that ends it first, large chunks first.

    This is what happens when every free GPU takes the next chunk, except that a slow GPU does not
    begin a chunk at the end which another would end earlier.
    """
    free = {window.gpu: window.opens for window in windows}
    shares: Shares = {window.gpu: [] for window in windows}
    for chunk in sorted(chunks, key=lambda chunk: (-chunk.size, chunk)):
        best = min(windows, key=lambda w: (free[w.gpu] + w.hours(chunk.size), w.gpu))
        free[best.gpu] += best.hours(chunk.size)
        shares[best.gpu].append(chunk)
    return shares


def end(shares: Mapping[int, Sequence[Chunk]], windows: Sequence[Window]) -> float:
    """Hours from now until the last chunk is done."""
    by_gpu = {window.gpu: window for window in windows}
    return max(
        by_gpu[gpu].opens + by_gpu[gpu].hours(sum(chunk.size for chunk in chunks))
        for gpu, chunks in shares.items()
        if chunks
    )


def dealt(
    layers: Mapping[int, int], windows: Sequence[Window], parts: Sequence[tuple[int, int]]
) -> dict[int, tuple[int, ...]]:
    """Layers by GPU: a plan's parts in order, the last GPU takes what is left of them.

    Where there are no parts, or more GPUs than parts, the layers are divided evenly.
    """
    if not parts or len(windows) > len(parts):
        return even(layers, windows)
    given: dict[int, tuple[int, ...]] = {}
    last = len(windows) - 1
    for n, window in enumerate(windows):
        first, until = parts[n][0], parts[-1 if n == last else n][1]
        given[window.gpu] = tuple(x for x in sorted(layers) if first <= x <= until)
    if sum(map(len, given.values())) != len(layers):
        return even(layers, windows)  # the parts are of other layers than there are
    return given


def even(layers: Mapping[int, int], windows: Sequence[Window]) -> dict[int, tuple[int, ...]]:
    """Contiguous layers for the GPUs in their order, all starting at once, with the least time.

    A GPU too slow for even one layer gets none.
    """
    low, high = 0.0, max(w.hours(sum(layers.values())) for w in windows)
    for _ in range(60):
        middle = (low + high) / 2
        if _within(layers, windows, middle) is None:
            low = middle
        else:
            high = middle
    found = _within(layers, windows, high)
    assert found is not None  # `high` always suffices: each GPU alone could do all of it by then
    return found


def _within(
    layers: Mapping[int, int], windows: Sequence[Window], hours: float
) -> dict[int, tuple[int, ...]] | None:
    """Layers by GPU such that each needs at most so many hours, or None."""
    left = sorted(layers)
    given: dict[int, tuple[int, ...]] = {}
    for window in windows:
        taken = 0
        features = 0
        while taken < len(left) and window.hours(features + layers[left[taken]]) <= hours:
            features += layers[left[taken]]
            taken += 1
        if taken:
            given[window.gpu] = tuple(left[:taken])
        left = left[taken:]
    return None if left else given
