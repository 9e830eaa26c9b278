"""The ceiling: how many tokens a second the device's matrix products alone would allow.

    FLOP per token = 2 · (weights of all linear layers inside the blocks + unembedding)

Each such weight is multiplied and added once a token. Embedding rows are looked up, norms and
attention scores are left out (at 250 tokens of context they are under 2 % of an 8B model's
arithmetic), so the ceiling is a little higher than what could really be reached.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.clock import measure, rounded

# Large enough that a GPU reaches its best rate; a CPU would take minutes, and reaches it earlier.
SIDE = {"cuda": 8192, "cpu": 1024}


def multiplying_weights(model: nn.Module) -> int:
    """Weights that every token is multiplied with: the blocks' linear layers and the unembedding.

    A tied embedding counts once, as the unembedding it also is.
    """
    blocks: Any = model.model.layers  # type: ignore[union-attr]
    inside = sum(m.weight.numel() for m in blocks.modules() if isinstance(m, nn.Linear))
    return inside + model.lm_head.weight.numel()  # type: ignore[union-attr,operator]


def flop_per_token(model: nn.Module) -> int:
    """Floating-point operations of one decoded token; see the module for the formula."""
    return 2 * multiplying_weights(model)


@dataclass(frozen=True)
class Limit:
    """The measured matrix-product rate of a device and what it means for a model."""

    side: int
    dtype: str
    flop_per_second: float
    flop_per_token: int

    @property
    def tokens_per_second(self) -> float:
        return self.flop_per_second / self.flop_per_token

    def share(self, tokens_per_second: float) -> float:
        """Which part of the limit a program reaches."""
        return tokens_per_second / self.tokens_per_second

    def figures(self) -> dict[str, Any]:
        return {
            "what": f"{self.side} x {self.side} x {self.side} matrix product, {self.dtype}",
            "tflop_per_second": rounded(self.flop_per_second / 1e12),
            "gflop_per_token": rounded(self.flop_per_token / 1e9),
            "formula": "2 x (weights of the blocks' linear layers + unembedding)",
            "tokens_per_second": rounded(self.tokens_per_second),
        }


def measure_limit(model: nn.Module, device: torch.device, dtype: torch.dtype) -> Limit:
    """Time one large matrix product in the model's number format, on random data."""
    side = SIDE[device.type]
    generator = torch.Generator(device).manual_seed(0)
    a, b = torch.randn(2, side, side, generator=generator, device=device).to(dtype)
    c = torch.empty_like(a)
    # Timed together: one alone on a GPU is as short as the host's own delay.
    calls = 20 if device.type == "cuda" else 4

    def run() -> int:
        for _ in range(calls):
            torch.matmul(a, b, out=c)
        return calls * 2 * side**3

    with torch.inference_mode():
        run()
        timing = measure(run, device, repeat=5)
    return Limit(side, str(dtype).removeprefix("torch."), timing.rate, flop_per_token(model))
