"""Whether the fast path can run here, compiling for it, and where compiled code is kept."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch

from pitboss.errors import BadInput

F = TypeVar("F", bound=Callable[..., object])

Way = Literal["compiled", "tiled", "plain"]
"""How a step is computed: compiled, eagerly with attention in tiles, or in the plainest way."""

_CACHE = "PITBOSS_COMPILE_CACHE"
# Every width and every model of a process is one version of the compiled functions.
_VERSIONS = 64


def way_of(device: torch.device, head_dim: int, fast: bool | None) -> Way:
    """Compiled if `fast`, plain if not; if it is None, what suits the device best.

    Raises:
        BadInput: It is wanted where it cannot run.
    """
    missing = []
    if device.type != "cuda":
        missing.append(f"a CUDA device (this is {device})")
    elif importlib.util.find_spec("triton") is None:
        missing.append("Triton")
    if head_dim < 16 or head_dim & (head_dim - 1):
        missing.append(f"heads whose width is a power of two from 16 on (these have {head_dim})")
    if fast and missing:
        raise BadInput(f"the fast path needs {', '.join(missing)}", next="leave `fast` unset.")
    if fast is False:
        return "plain"
    if not missing:
        return "compiled"
    # A CUDA library may take another kernel for another number of parts, and so give other bits.
    return "tiled" if device.type == "cpu" else "plain"


def compiled(function: F) -> F:
    """The function compiled for the shapes it is called with; the code is cached on disk."""
    use_compile_cache()
    # Products that split their inner dimension must not add the parts up in bfloat16.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _VERSIONS)
    # Sums are added up in an order that is fixed, not in the one that is measured to be fastest:
    # two GPUs of one kind may measure otherwise, and would give other bits.
    options: dict[str, str | int | bool | Callable[..., Any]] = {"deterministic": True}
    return torch.compile(function, dynamic=False, fullgraph=True, options=options)  # type: ignore[return-value]


def use_compile_cache() -> None:
    """Keep compiled code under $PITBOSS_COMPILE_CACHE, if it is set, for the next process."""
    if place := os.environ.get(_CACHE):
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(place) / "inductor"))
        os.environ.setdefault("TRITON_CACHE_DIR", str(Path(place) / "triton"))
