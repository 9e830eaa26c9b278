"""What a patch does to Gemma 2's decision by transformers alone, in float32 or throughout float64.

The reference that tells which of two ways of computing in float32 is nearer to the truth.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm


@contextmanager
def in_float64(model: Any) -> Iterator[Any]:
    """A copy that computes in float64 also where transformers goes to float32: norms and softmax.

    Rotary angles stay the float32 numbers that they are by definition.
    """
    softmax = nn.functional.softmax

    def norm(self: Any, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * (1.0 + self.weight)

    def exact_softmax(x: torch.Tensor, dim: int, **_: object) -> torch.Tensor:
        return softmax(x, dim=dim)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Gemma2RMSNorm, "forward", norm)
        patched.setattr(nn.functional, "softmax", exact_softmax)
        yield copy.deepcopy(model).double()


@torch.inference_mode()
def log_p(
    model: Any,
    prompts: Sequence[tuple[int, ...]],
    choices: Mapping[str, Sequence[int]],
    layer: int,
    dec: torch.Tensor,
    change: torch.Tensor,
) -> torch.Tensor:
    """Log-probability of each choice, float64 [prompts, values, features, choices] on the CPU.

    The whole prompt runs through the whole model, once for each patch, without a cache; the patch
    is a hook that adds change · dec to the block's output at the last token.

    Args:
        dec: float32 [features, d_model].
        change: float32 [prompts, values, features].
    """
    found = []
    for prompt, sizes in zip(prompts, change, strict=True):
        steps = sizes[..., None] * dec

        def add(
            _: object, __: object, x: torch.Tensor, steps: torch.Tensor = steps
        ) -> torch.Tensor:
            x = x.clone()
            x[:, -1] += steps.flatten(0, 1).to(x.dtype)
            return x

        ids = torch.tensor([prompt], device=dec.device).expand(sizes.numel(), -1)
        handle = model.model.layers[layer].register_forward_hook(add)
        try:
            logits = model(ids, logits_to_keep=1).logits[:, 0].double().log_softmax(-1)
        finally:
            handle.remove()
        each = [logits[:, list(tokens)].logsumexp(-1) for tokens in choices.values()]
        found.append(torch.stack(each, dim=-1).view(*sizes.shape, len(choices)))
    return torch.stack(found).cpu()
