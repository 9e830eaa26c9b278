"""Timing: the device has finished before the clock is read, and the median of several counts."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Timing:
    """Repeated measurements of one program.

    Attributes:
        units: What one call made (tokens, rows, floating-point operations).
        seconds: One entry a call, in the order in which they ran.
    """

    units: int
    seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Median units a second."""
        return self.units / statistics.median(self.seconds)

    def and_then(self, other: "Timing") -> "Timing":
        """Both together. Raises ValueError if they did not make the same amount."""
        if other.units != self.units:
            raise ValueError(f"one call made {self.units} units, another {other.units}")
        return Timing(self.units, self.seconds + other.seconds)

    def figures(self, name: str) -> dict[str, Any]:
        """As JSON: the median rate under `name`, the slowest and the fastest beside it."""
        return {
            name: rounded(self.rate),
            "slowest": rounded(self.units / max(self.seconds)),
            "fastest": rounded(self.units / min(self.seconds)),
            "repeats": len(self.seconds),
            "seconds_each": [round(s, 4) for s in self.seconds],
        }


def measure(
    run: Callable[[], int], device: torch.device, *, repeat: int, at_most: float = float("inf")
) -> Timing:
    """Time `run`, which says how many units it made.

    Args:
        repeat: Calls that are timed.
        at_most: Seconds after which no further call begins; one is always made.

    Raises:
        ValueError: Two calls made different amounts, so their times cannot be compared.
    """
    timing = _once(run, device)
    while len(timing.seconds) < repeat and sum(timing.seconds) < at_most:
        timing = timing.and_then(_once(run, device))
    return timing


def measure_in_turn(
    runs: Mapping[str, Callable[[], int]], device: torch.device, *, repeat: int
) -> dict[str, Timing]:
    """Time one call of each program after the other, `repeat` times: all meet the same machine.

    Raises:
        ValueError: As `measure`.
    """
    timings = {name: _once(run, device) for name, run in runs.items()}
    for _ in range(repeat - 1):
        for name, run in runs.items():
            timings[name] = timings[name].and_then(_once(run, device))
    return timings


def _once(run: Callable[[], int], device: torch.device) -> Timing:
    synchronise(device)
    began = time.perf_counter()
    made = run()
    synchronise(device)
    return Timing(made, (time.perf_counter() - began,))


def rounded(value: float, digits: int = 4) -> float:
    """To so many significant digits, for people and for files that are compared."""
    return float(f"{value:.{digits}g}")
