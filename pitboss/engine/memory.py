"""How many bytes of a GPU a run will take, and how many slots fit what is free.

The fast path's memory is known before it is taken: weights, keys and values, buffers that never
move, and what one step holds at once. Compared with measured peaks in tests/gpu/test_memory.py.
"""

from typing import NamedTuple

import torch

from pitboss.engine.config import EngineConfig
from pitboss.engine.prefix import prefill_tokens
from pitboss.errors import BadInput
from pitboss.models.spec import ModelSpec

# CUDA context, libraries and their workspaces, compiled kernels: measured on H100 and H200.
CONTEXT = 1_100_000_000
_MLP_FACTOR = 4  # d_mlp is at most this many times d_model in the families the engine knows
_CANDIDATES = 64 * 64  # tokens that the sampler looks at for a row, 8 + 8 + 4 bytes each


class Need(NamedTuple):
    """Bytes by what they are for."""

    weights: int
    prefixes: int
    own_tokens: int
    buffers: int
    step: int
    prefill: int
    context: int
    saes: int

    @property
    def total(self) -> int:
        return sum(self)


def need(
    spec: ModelSpec,
    config: EngineConfig,
    dtype: torch.dtype,
    slots: int | None = None,
    saes: int = 0,
) -> Need:
    """Bytes that an engine takes on a CUDA device.

    Args:
        slots: Requests in flight; those of the configuration if None.
        saes: Bytes of the whole SAEs that stay on the device.
    """
    size = dtype.itemsize
    micro_batches = config.micro_batch_slots(fast=True, slots=slots)
    total, width, d = sum(micro_batches), config.width, spec.d_model
    token = 2 * spec.n_layers * spec.n_kv_heads * spec.head_dim * size
    prefixes = config.prefixes or total
    capacity = config.padded_prompt
    mlp = _MLP_FACTOR * d
    step = width * size * (spec.vocab_size + 3 * mlp + 8 * d) + width * _CANDIDATES * 20
    prefill = prefill_tokens(capacity, torch.device("cuda")) * (4 * mlp * size + 3 * d * 4)
    captured = len(config.capture_layers) * width * d * size * len(micro_batches)
    return Need(
        weights=spec.n_params * (size + (config.precision == "fp8")),
        prefixes=prefixes * capacity * token,
        own_tokens=total * config.token_capacity * token,
        buffers=captured + 2 * 4 * d * total * config.patch_slots,
        step=step,
        prefill=prefill,
        context=CONTEXT,
        saes=saes,
    )


def base_and_slot(
    spec: ModelSpec, config: EngineConfig, dtype: torch.dtype, slots: int, saes: int = 0
) -> tuple[int, int]:
    """Bytes of an engine beyond a parked one's: without any slot, and more for each of so many."""
    one, all_of_them = (need(spec, config, dtype, n, saes).total for n in (1, slots))
    slot = (all_of_them - one) // max(1, slots - 1)
    return one - CONTEXT - slot, slot


def usable_bytes(device: torch.device, cap: int | None, reserve: int = 0) -> int:
    """What this process may hold of a CUDA device: what it has and what is free, under a cap.

    A twentieth of what is free, and at least the reserve, is left alone: it is other people's
    device too.
    """
    free = torch.cuda.mem_get_info(device)[0]
    held = torch.cuda.memory_reserved(device) + CONTEXT
    usable = held + free - max(free // 20, reserve)
    return usable if cap is None else min(usable, cap)


def fitting_slots(
    spec: ModelSpec, config: EngineConfig, dtype: torch.dtype, limit: int, saes: int = 0
) -> int:
    """The most slots, at most those of the configuration, that take at most `limit` bytes.

    Raises:
        BadInput: Not even one slot fits.
    """
    most = sum(config.micro_batch_slots(fast=True))

    def fits(slots: int) -> bool:
        return need(spec, config, dtype, slots, saes).total <= limit

    if fits(most):
        return most
    low, high = 0, most  # low fits (or is 0), high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if not low:
        least = need(spec, config, dtype, 1, saes).total
        raise BadInput(
            f"a run needs at least {least / 1e9:.1f} GB, {limit / 1e9:.1f} GB may be used",
            where=f"{spec.id}, width {config.width}",
            next="choose a smaller width, wait for memory, or use another GPU.",
        )
    return low
