"""How many bytes of a GPU a run will take, and how many slots fit what is free.

The fast path's memory is known before it is taken: weights, keys and values, buffers that never
move, and what one step holds at once. Compared with measured peaks in tests/gpu/test_memory.py.
"""

from typing import NamedTuple

import torch

from pitboss.engine.prefix import BUCKET, prefill_tokens
from pitboss.engine.scheduler import slots_of_gangs
from pitboss.errors import BadInput
from pitboss.models.spec import ModelSpec

# CUDA context, libraries and their workspaces, compiled kernels: measured on H100 and H200.
CONTEXT = 1_100_000_000
_MLP_FACTOR = 4  # d_mlp is at most this many times d_model in the families the engine knows
_CANDIDATES = 64 * 64  # tokens of a row that the sampler looks at one by one, 8 + 8 + 4 bytes each


class Plan(NamedTuple):
    """What an engine is asked to hold; the arguments of `Engine`.

    Attributes:
        saes: Bytes of the whole SAEs that stay on the device.
        fp8: Whether the blocks' weights are there in 8 bits too.
    """

    width: int
    prompt_capacity: int
    token_capacity: int
    prefixes: int | None = None
    lanes: int = 1
    capture_layers: int = 0
    gangs: int | None = None
    saes: int = 0
    fp8: bool = False


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


def need(spec: ModelSpec, plan: Plan, dtype: torch.dtype, slots: int | None = None) -> Need:
    """Bytes that a run takes on a CUDA device.

    Args:
        slots: Rows in flight; as many as the gangs hold if None.
    """
    size = dtype.itemsize
    gangs = slots_of_gangs(plan.width, slots, plan.gangs, fast=True)
    total, width, d = sum(gangs), plan.width, spec.d_model
    token = 2 * spec.n_layers * spec.n_kv_heads * spec.head_dim * size
    places = plan.prefixes or total
    capacity = -(-plan.prompt_capacity // BUCKET) * BUCKET
    mlp = _MLP_FACTOR * d
    step = width * size * (spec.vocab_size + 3 * mlp + 8 * d) + width * _CANDIDATES * 20
    prefill = prefill_tokens(capacity, torch.device("cuda")) * (4 * mlp * size + 3 * d * 4)
    captured = plan.capture_layers * width * d * size * len(gangs)
    return Need(
        weights=spec.n_params * (size + plan.fp8),
        prefixes=places * capacity * token,
        own_tokens=total * plan.token_capacity * token,
        buffers=captured + 2 * 4 * d * total * plan.lanes,
        step=step,
        prefill=prefill,
        context=CONTEXT,
        saes=plan.saes,
    )


def usable_bytes(device: torch.device, cap: int | None, reserve: int = 0) -> int:
    """What this process may hold of a CUDA device: what it has and what is free, under a cap.

    A twentieth of what is free, and at least the reserve, is left alone: it is other people's
    device too.
    """
    free = torch.cuda.mem_get_info(device)[0]
    held = torch.cuda.memory_reserved(device) + CONTEXT
    usable = held + free - max(free // 20, reserve)
    return usable if cap is None else min(usable, cap)


def fitting_slots(spec: ModelSpec, plan: Plan, dtype: torch.dtype, limit: int) -> int:
    """The most slots, over all gangs, with which a run takes at most `limit` bytes.

    Raises:
        BadInput: Not even one slot fits.
    """
    gangs = plan.gangs or 2
    most = gangs * plan.width

    def fits(slots: int) -> bool:
        return need(spec, plan, dtype, slots).total <= limit

    if fits(most):
        return most
    low, high = 0, most  # low fits (or is 0), high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if not low:
        least = need(spec, plan, dtype, 1).total
        raise BadInput(
            f"a run needs at least {least / 1e9:.1f} GB, {limit / 1e9:.1f} GB may be used",
            where=f"{spec.id}, width {plan.width}",
            next="choose a smaller width, wait for memory, or use another GPU.",
        )
    return low
