"""The residual stream through one block, around its attention, and to the logits.

Plain functions of tensors, the same for every family and for every way of running them: eagerly on
a CPU, or compiled once and called for every block on a GPU.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from pitboss.engine.architecture import Architecture, Block
from pitboss.engine.precision import linear


class Heads(NamedTuple):
    """Queries [rows, heads, head_dim], keys and values [rows, kv_heads, head_dim], rotated."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor


class RotaryTable:
    """cos and sin for every position, made once by the model's own rotary embedding.

    Attributes:
        cos, sin: [positions, head_dim].
    """

    def __init__(self, arch: Architecture, positions: int, like: torch.Tensor) -> None:
        every = torch.arange(positions, device=like.device)[None]
        cos, sin = arch.rotary(like, every)
        self.cos, self.sin = cos[0].contiguous(), sin[0].contiguous()


class Forward:
    """What a block does before and after its attention."""

    def __init__(self, arch: Architecture) -> None:
        self.heads, self.kv_heads, self.head_dim = arch.n_heads, arch.n_kv_heads, arch.head_dim
        self.eps, self.norm_offset = arch.eps, arch.norm_offset
        self.gelu = arch.activation == "gelu_tanh"

    def before(
        self,
        x: torch.Tensor,
        block: Block,
        position: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
    ) -> Heads:
        """Norm, projections, rotation: residual stream [rows, d_model] at int64 [rows]."""
        h = linear(self.norm(x, block.before_attention), block.qkv)
        if block.qkv_bias is not None:
            h = h + block.qkv_bias
        h = h.view(-1, self.heads + 2 * self.kv_heads, self.head_dim)
        q, k, v = h.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        if block.q_norm is not None and block.k_norm is not None:
            q, k = self.norm(q, block.q_norm), self.norm(k, block.k_norm)
        turn = cos[position][:, None], sin[position][:, None]
        return Heads(rotate(q, *turn), rotate(k, *turn), v)

    def after(self, x: torch.Tensor, mixed: torch.Tensor, block: Block) -> torch.Tensor:
        """Add the attention's output [rows, heads·head_dim], then the MLP's."""
        added = linear(mixed, block.o)
        if block.after_attention is not None:
            added = self.norm(added, block.after_attention)
        x = x + added
        added = linear(self.hidden(x, block), block.down)
        if block.after_mlp is not None:
            added = self.norm(added, block.after_mlp)
        return x + added

    def hidden(self, x: torch.Tensor, block: Block) -> torch.Tensor:
        """Activations inside the MLP [rows, d_mlp]."""
        gate, up = linear(self.norm(x, block.before_mlp), block.gate_up).chunk(2, dim=-1)
        return (F.gelu(gate, approximate="tanh") if self.gelu else F.silu(gate)) * up

    def logits(self, x: torch.Tensor, norm: torch.Tensor, unembed: torch.Tensor) -> torch.Tensor:
        """Next-token logits [rows, vocab] in the model's dtype, before any soft cap."""
        return F.linear(self.norm(x, norm), unembed)

    def norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Root-mean-square norm over the last dimension, computed in float32."""
        exact = x.float()
        exact = exact * torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + self.eps)
        if self.norm_offset:
            return (exact * (self.norm_offset + weight.float())).to(x.dtype)
        return weight * exact.to(x.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions: x [rows, heads, head_dim], cos and sin [rows, 1, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def cap(logits: torch.Tensor, softcap: float | None) -> torch.Tensor:
    """Logits in float32 under Gemma 2's soft cap c·tanh(logits / c), or as they are."""
    logits = logits.float()
    return logits if softcap is None else torch.tanh(logits / softcap) * softcap
