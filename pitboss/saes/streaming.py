"""SAEs of many layers one after the other, the next being read while one is in use."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from pitboss.saes.loading import SaeLayer


class SaeStream:
    """At most two SAEs in memory: the one in use and the one that comes next.

    Args:
        load: Reads one layer's SAE; called in a thread of its own.
    """

    def __init__(self, load: Callable[[int], SaeLayer]) -> None:
        self._load = load
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="next-sae")
        self._here: tuple[int, SaeLayer] | None = None
        self._coming: tuple[int, Future[SaeLayer]] | None = None

    def get(self, layer: int, following: int | None = None) -> SaeLayer:
        """One layer's SAE; the `following` layer's is read from now on.

        Raises:
            BadInput, Mismatch: As `load_sae`, also for a layer that was read ahead.
        """
        if self._here is None or self._here[0] != layer:
            self._here = None  # before the next one needs its room
            self._here = (layer, self._take(layer))
        ahead = self._coming[0] if self._coming else None
        if following is not None and following not in (layer, ahead):
            self._coming = (following, self._thread.submit(self._load, following))
        return self._here[1]

    def _take(self, layer: int) -> SaeLayer:
        coming, self._coming = self._coming, None
        if coming is not None and coming[0] == layer:
            return coming[1].result()
        return self._thread.submit(self._load, layer).result()
