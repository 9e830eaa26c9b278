"""A thread that looks at a GPU's free memory, and the answer to an engine that asks."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pitboss.errors import BadInput, PitbossError
from pitboss.floor.memory.guard import Footprint, Guard, Thresholds

EVERY_S = 1.0
# Looks that may fail in a row before the job is stopped: nobody watches then.
_BLIND = 10
_ask_when_parked: ContextVar[Callable[[], None]] = ContextVar("ask_when_parked")


@contextmanager
def while_parked(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` at every look that keeps a job off its GPU; what it raises ends the waiting.

    Holds for the jobs of this thread until the end of the `with`.
    """
    before = _ask_when_parked.set(ask)
    try:
        yield
    finally:
        _ask_when_parked.reset(before)


class Watcher:
    """Keeps a job inside the memory that others leave; call it as `pitboss.engine.pressure` says.

    Args:
        headroom: Free bytes of the GPU now.
        thresholds: When to act.
        every_s: Seconds between two looks.
        say: Told of every change, on the thread that asks.
    """

    def __init__(
        self,
        headroom: Callable[[], int],
        thresholds: Thresholds,
        *,
        every_s: float = EVERY_S,
        say: Callable[[str], None] = print,
    ) -> None:
        self.headroom, self.thresholds, self.every_s, self.say = headroom, thresholds, every_s, say
        self.guard: Guard | None = None
        self._looked = threading.Condition()
        self._news: list[str] = []
        self._failures: list[Exception] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> "Watcher":
        """Look for the first time, and from then on in a thread that ends with the process.

        Raises:
            PitbossError: The free memory cannot be read.
        """
        self.look()
        if self._failures:
            raise self._blind()
        self._thread = threading.Thread(target=self._run, name="memory guard", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    def about(self, cap: int, footprint: Footprint) -> None:
        """Guard another job from now on, which has its `cap` slots."""
        with self._looked:
            self.guard = Guard(self.thresholds, cap, footprint)

    def __call__(self, slots: int) -> int:
        """The most rows in flight that may be, given that `slots` are; 0: leave the GPU.

        Asked with 0 it waits for the next look before it says 0 again; see `while_parked`.

        Raises:
            PitbossError: The free memory could not be read for a while.
        """
        with self._looked:
            if self.guard is None:
                return slots
            answer = self.guard.answer(slots)
            if not answer and not slots:
                self._looked.wait(self.every_s)
                answer = self.guard.answer(slots)
            if len(self._failures) >= _BLIND:
                raise self._blind()
            news, self._news = self._news, []
        for sentence in news:
            self.say(sentence)
        if not answer and not slots and (ask := _ask_when_parked.get(None)):
            ask()
        return answer

    def look(self) -> None:
        """Look once; the thread does it again and again."""
        try:
            free = self.headroom()
        except Exception as error:  # whatever the driver's library raises
            with self._looked:
                self._failures.append(error)
            return
        with self._looked:
            self._failures.clear()
            if self.guard is not None:
                ask = self.guard.look(time.monotonic(), free)
                if ask.action != "continue":
                    to = f"to {ask.slots} of {self.guard.cap} rows in flight"
                    self._news.append(f"Memory guard: {ask.action} {to}: {ask.why}.")
            self._looked.notify_all()

    def _run(self) -> None:
        while not self._ended.wait(self.every_s):
            self.look()

    def _blind(self) -> PitbossError:
        return PitbossError(
            f"the GPU's free memory cannot be read: {self._failures[-1]}",
            where="memory guard",
            next="check `nvidia-smi`; engine.reserve_gb: null runs without the guard.",
        )


def nvml_headroom(uuid: str) -> Callable[[], int]:
    """Free bytes of one GPU by NVML, which disturbs no CUDA program, ours neither.

    Args:
        uuid: The driver's name for the GPU, with or without its "GPU-".

    Raises:
        BadInput: NVML or the GPU cannot be reached.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        handle: Any = pynvml.nvmlDeviceGetHandleByUUID("GPU-" + uuid.removeprefix("GPU-"))
    except pynvml.NVMLError as error:
        raise BadInput(
            f"NVML does not show the GPU: {error}",
            where=f"GPU {uuid}",
            next="check `nvidia-smi -L`; engine.reserve_gb: null runs without the guard.",
        ) from error
    return lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).free)
