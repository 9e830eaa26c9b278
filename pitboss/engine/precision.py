"""Matrix products in 8 bits, an option: twice the arithmetic of bfloat16, three bits of mantissa.

Weights have one scale for each output, activations one for each row, so that a row's product does
not depend on its neighbours. The residual stream, norms, attention, patches, the SAEs and the
unembedding stay as they are.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F

from pitboss.engine.architecture import Architecture, Block, Fp8, Weight
from pitboss.errors import BadInput

_LARGEST = 448.0  # of float8_e4m3fn
_TINY = 1e-12  # a row of zeros has scale 0 otherwise


def linear(x: torch.Tensor, weight: Weight) -> torch.Tensor:
    """x·weightᵀ, [rows, outputs] in x's dtype."""
    if isinstance(weight, torch.Tensor):
        return F.linear(x, weight)
    data, scale = _quantised(x)
    return torch._scaled_mm(
        data,
        weight.data.t(),
        scale_a=scale,
        scale_b=weight.scale,
        out_dtype=x.dtype,
        use_fast_accum=True,
    )


def in_fp8(arch: Architecture) -> Architecture:
    """The same model with the weights of its blocks' matrix products in 8 bits.

    The model's own weights stay where they are: this takes half their bytes again.

    Raises:
        BadInput: The device has no 8-bit matrix products, or the model is not in bfloat16.
    """
    weight = arch.unembed
    if weight.device.type != "cuda" or torch.cuda.get_device_capability(weight.device) < (8, 9):
        raise BadInput(
            f"precision fp8 needs a GPU with 8-bit matrix products (this is {weight.device})",
            next="leave `precision` unset, or use an Ada, Hopper or newer GPU.",
        )
    if weight.dtype != torch.bfloat16:
        raise BadInput(f"precision fp8 needs a model in bfloat16, not {weight.dtype}")
    return replace(arch, blocks=tuple(_block(block) for block in arch.blocks))


def _block(block: Block) -> Block:
    return block._replace(
        qkv=_weight(block.qkv),
        o=_weight(block.o),
        gate_up=_weight(block.gate_up),
        down=_weight(block.down),
    )


def _weight(weight: Weight) -> Fp8:
    assert isinstance(weight, torch.Tensor)  # a model is turned once
    data, scale = _quantised(weight)
    return Fp8(data, scale.t().contiguous())


def _quantised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as float8_e4m3fn and their scales, float32 [rows, 1]."""
    exact = x.float()
    scale = exact.abs().amax(-1, keepdim=True).clamp(min=_TINY) / _LARGEST
    return (exact / scale).to(torch.float8_e4m3fn), scale
