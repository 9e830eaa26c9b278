"""The residual stream through one block, and rotary positions."""

from collections.abc import Callable

import torch

from pitboss.engine.architecture import Architecture, Block

# (block index, q [rows, heads, head_dim], k and v [rows, kv_heads, head_dim]) → [rows, heads·dim]
Attend = Callable[[int, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class RotaryTable:
    """cos and sin for every position, made once by the model's own rotary embedding."""

    def __init__(self, arch: Architecture, positions: int, like: torch.Tensor) -> None:
        every = torch.arange(positions, device=like.device)[None]
        cos, sin = arch.rotary(like, every)
        self.cos, self.sin = cos[0], sin[0]  # [positions, head_dim]

    def rotate(self, x: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Rotate x [rows, heads, head_dim] to positions int64 [rows]."""
        cos, sin = self.cos[position][:, None], self.sin[position][:, None]
        first, second = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-second, first), dim=-1) * sin


def run_block(
    arch: Architecture,
    index: int,
    x: torch.Tensor,
    position: torch.Tensor,
    rotary: RotaryTable,
    attend: Attend,
) -> torch.Tensor:
    """Residual stream [rows, d_model] after block `index`; position is int64 [rows]."""
    block: Block = arch.blocks[index]
    h = block.before_attention(x)
    q = block.q(h).view(-1, arch.n_heads, arch.head_dim)
    k = block.k(h).view(-1, arch.n_kv_heads, arch.head_dim)
    v = block.v(h).view(-1, arch.n_kv_heads, arch.head_dim)
    mixed = attend(index, rotary.rotate(q, position), rotary.rotate(k, position), v)
    x = x + block.after_attention(block.o(mixed))
    return x + block.after_mlp(block.mlp(block.before_mlp(x)))
