"""Running programs that may fail, one after another, on one device."""

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bench.clock import rounded
from bench.programs.base import Unavailable


@contextmanager
def recorded(into: dict[str, Any], name: str) -> Iterator[None]:
    """A program that cannot run leaves its reason under its name; nothing is dropped silently."""
    try:
        yield
    except Unavailable as reason:
        into[name] = {"error": f"not available: {reason}"}
    except Exception as error:  # any failure of a compared program is itself a finding
        traceback.print_exc()
        lines = str(error).strip().splitlines() or [""]
        into[name] = {"error": f"{type(error).__name__}: {lines[0][:300]}"}


def free() -> None:
    """Give memory that nothing refers to back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def forget_peak(device: torch.device) -> None:
    """Count the largest amount of device memory from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> dict[str, float]:
    """Largest device memory since `forget_peak`, in GB, weights included; nothing on a CPU."""
    if device.type != "cuda":
        return {}
    return {"peak_gb": rounded(torch.cuda.max_memory_allocated(device) / 1e9)}
