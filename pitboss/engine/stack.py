"""A model's decoder blocks over a micro-batch, one token a slot, with their attention."""

from collections.abc import Sequence

import torch

from pitboss.engine.architecture import Architecture
from pitboss.engine.attention import Attention, PlainAttention
from pitboss.engine.compiled import Way, compiled
from pitboss.engine.config import EngineConfig
from pitboss.engine.forward import Forward, RotaryTable
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.tiled_attention import TiledAttention


class Stack:
    """The blocks over `width` rows: attention to prompts' prefixes and to the slots' own tokens.

    The matrix products always have `width` rows, however few slots are in use, because a product's
    rounding may depend on its shape.

    Args:
        slots: Rows that can hold a request, at most the width.
        way: `compiled` with attention kernels of our own (CUDA), `tiled`, or `plain`.
    """

    def __init__(
        self,
        arch: Architecture,
        rotary: RotaryTable,
        prefix: PrefixStore,
        config: EngineConfig,
        slots: int,
        way: Way,
    ) -> None:
        self.arch, self.rotary, self.slots = arch, rotary, slots
        self.fast = way == "compiled"
        forward = Forward(arch)
        self.attention: Attention
        if self.fast:
            from pitboss.engine.fast_attention import FastAttention  # needs Triton

            self.attention = FastAttention(arch, prefix, config, slots)
            self._before, self._hidden = compiled(forward.before), compiled(forward.hidden)
            self._after, self._logits = compiled(forward.after), compiled(forward.logits)
        else:
            kind = TiledAttention if way == "tiled" else PlainAttention
            self.attention = kind(arch, prefix, config, slots)
            self._before, self._after = forward.before, forward.after
            self._logits = forward.logits

    def assign(self, prefix_slots: Sequence[int | None]) -> None:
        """Tell which prefix each slot sees; None for an idle slot."""
        self.attention.assign(prefix_slots)

    def begin(self, position: torch.Tensor, step: torch.Tensor) -> None:
        """Start one token of every slot.

        Args:
            position: int64 [width], where the token stands in its text.
            step: int64 [width], how many tokens the slot's request has run before this one.
        """
        self.position = position
        self.attention.begin(position, step)

    def block(self, index: int, x: torch.Tensor) -> torch.Tensor:
        """Residual stream [width, d_model] after block `index`, given the one before it.

        On the fast path the memory of x may be used for the result.
        """
        block = self.arch.blocks[index]
        q, k, v = self._before(x, block, self.position, self.rotary.cos, self.rotary.sin)
        mixed = self.attention(index, q, k, v)
        o, down = block.o, block.down
        added = block.after_attention is None  # what a part gives is added as it is
        if self.fast and added and isinstance(o, torch.Tensor) and isinstance(down, torch.Tensor):
            x.addmm_(mixed, o.t())  # cuBLAS adds in place, where compiled code would copy x first
            return x.addmm_(self._hidden(x, block), down.t())
        return self._after(x, mixed, block)

    def raw_logits(self, x: torch.Tensor) -> torch.Tensor:
        """Next-token logits [width, vocab] in the model's dtype, before any soft cap."""
        return self._logits(x, self.arch.norm, self.arch.unembed)
