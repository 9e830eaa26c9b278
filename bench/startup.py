"""Section `startup`: from a resident model to its first token, in a fresh process.

Twice, with a compile cache of its own that is empty the first time and filled the second. The
engine's place for compiled code is the setting PITBOSS_COMPILE_CACHE.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from bench.clock import rounded, synchronise
from bench.machine import ROOT
from bench.programs import Ours
from bench.settings import Settings
from bench.work import rows_of, sampled
from pitboss.models.loading import LoadedModel

_LIMIT = 420
"""Seconds after which a start counts as failed."""

_CHILD = (
    "import sys, json; from bench.startup import child; print('STARTUP ' + json.dumps(child(*json."
    "loads(sys.argv[1]))))"
)


def startup(loaded: LoadedModel, settings: Settings) -> dict[str, Any]:
    """A cold start, then a warm one; seconds of each part."""
    if loaded.device.type == "cuda":
        # The child loads the model itself; both must fit.
        loaded.model.to("cpu")  # type: ignore[arg-type]
    try:
        with tempfile.TemporaryDirectory(prefix="pitboss-compile-") as cache:
            return {
                "width": settings.width,
                "cold_cache": _start(settings, cache),
                "warm_cache": _start(settings, cache),
            }
    finally:
        loaded.model.to(loaded.device)  # type: ignore[arg-type]


def _start(settings: Settings, cache: str) -> dict[str, float]:
    told = [settings.shape, str(settings.device), settings.dtype, settings.width, settings.engine]
    env = os.environ | {"PITBOSS_COMPILE_CACHE": cache}
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        env.pop(name, None)
    began = time.perf_counter()
    made = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps(told)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
    )
    whole = time.perf_counter() - began
    lines = [line for line in made.stdout.splitlines() if line.startswith("STARTUP ")]
    if made.returncode or not lines:
        raise RuntimeError(f"the started process failed: {made.stderr.strip()[-2000:]}")
    parts: dict[str, float] = json.loads(lines[-1].removeprefix("STARTUP "))
    return {name: rounded(s) for name, s in (parts | {"whole_process": whole}).items()}


def child(
    shape: str, device_name: str, dtype: str | None, width: int, options: dict[str, Any]
) -> dict[str, float]:
    """In the fresh process: load the model, then time the engine to its first token."""
    import torch

    from bench.shapes import load_shape

    device = torch.device(device_name)
    began = time.perf_counter()
    loaded = load_shape(shape, device, dtype)
    synchronise(device)
    resident = time.perf_counter()
    rows = rows_of(loaded, 1, sampled(1), prompt_tokens=150, prompts=1)
    engine = Ours(loaded, {}, width, **options).engine(
        rows_of(loaded, 2, sampled(100), prompt_tokens=150)
    )
    built = time.perf_counter()
    engine.run(rows)
    synchronise(device)
    first = time.perf_counter()
    engine.run(rows)
    synchronise(device)
    return {
        "model": resident - began,
        "engine": built - resident,
        "first_token": first - built,
        "resident_to_first_token": first - resident,
        "later_token": time.perf_counter() - first,
    }
