"""What attention is given and gives, and the plain way of computing it, which is the reference.

A request's keys lie in two places: its prompt's prefix, which many requests share, and its own
tokens. `PlainAttention` attends to each apart and merges both by their log-sum-exp;
`TiledAttention` and `FastAttention` compute the same, sooner.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch

from pitboss.engine.architecture import Architecture
from pitboss.engine.config import EngineConfig
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.softmax import attend, merge


class Attention(ABC):
    """Attention of every slot to its prompt's prefix and to its own tokens.

    Args:
        slots: Rows of the micro-batch that can hold a request; the others have no keys.
    """

    def __init__(
        self, arch: Architecture, prefix: PrefixStore, config: EngineConfig, slots: int
    ) -> None:
        self.arch, self.prefix, self.slots = arch, prefix, slots
        self.width, self.tokens, self.shared = config.width, config.token_capacity, config.shared
        self.device = prefix.length.device

    def _own_keys_and_values(self, *shape: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Memory for the tokens that slots have run themselves, one tensor a block."""
        blocks = self.arch.blocks
        k, v = ([self.prefix.k[0].new_zeros(shape) for _ in blocks] for _ in range(2))
        return k, v

    @abstractmethod
    def assign(self, prefix_slots: Sequence[int | None]) -> None:
        """Tell which prefix each slot sees; None for an idle slot."""

    @abstractmethod
    def begin(self, position: torch.Tensor, step: torch.Tensor) -> None:
        """Prepare one token of every slot: its position in the text, its number of own tokens."""

    @abstractmethod
    def __call__(
        self, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """[width, heads·head_dim] of queries [width, heads, …], keys and values [width, kv, …]."""


class PlainAttention(Attention):
    """One prompt at a time, whoever has it, and every own key that there can be."""

    def __init__(
        self, arch: Architecture, prefix: PrefixStore, config: EngineConfig, slots: int
    ) -> None:
        super().__init__(arch, prefix, config, slots)
        self.own_k, self.own_v = self._own_keys_and_values(
            slots, arch.n_kv_heads, self.tokens, arch.head_dim
        )
        device = self.device
        self.prefix_slot = torch.zeros(self.width, dtype=torch.int64, device=device)
        self.live: list[int] = []
        self.slot_index = torch.arange(slots, device=device)
        self.own_index = torch.arange(max(self.tokens, 1), device=device)
        self.prefix_index = torch.arange(prefix.capacity, device=device)

    def assign(self, prefix_slots: Sequence[int | None]) -> None:
        """Tell which prefix each slot sees; None for an idle slot."""
        known = [at or 0 for at in prefix_slots]
        self.prefix_slot[: len(known)] = torch.tensor(known, device=self.device)
        self.live = sorted({at for at in prefix_slots if at is not None})

    def begin(self, position: torch.Tensor, step: torch.Tensor) -> None:
        """Prepare one token of every row: its position in the text, its number of own tokens."""
        self.position, self.step = position, step
        self.own_visible = self.own_index <= step[: self.slots, None]

    def __call__(
        self, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """[width, heads·head_dim] of queries [width, heads, …], keys and values [width, kv, …]."""
        n = self.slots
        q = q.view(self.width, self.arch.n_kv_heads, -1, self.arch.head_dim)
        own = self._own(index, q[:n], k[:n], v[:n])
        if self.shared:
            out, lse = self._shared(index, q)
            prefix = out[:n], lse[:n]
        else:
            prefix = self._private(index, q[:n])
        mixed = q.new_zeros(self.width, self.arch.n_heads * self.arch.head_dim)
        mixed[:n] = merge(prefix, own).reshape(n, -1)
        return mixed

    def _own(
        self, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        arch, visible = self.arch, self.own_visible
        if not self.tokens:
            keys, values = k[:, :, None], v[:, :, None]
        else:
            step = self.step[: self.slots]
            keys, values = self.own_k[index], self.own_v[index]
            keys[self.slot_index, :, step] = k
            values[self.slot_index, :, step] = v
            if (window := arch.windows[index]) is not None:
                visible = visible & (step[:, None] - self.own_index < window)
        return attend(q, keys, values, visible[:, None, None], arch.scale, arch.attention_softcap)

    def _shared(self, index: int, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Few prompts, many rows: a prompt's keys are read once, the rows folded into its queries.

        q is [rows, kv_heads, group, head_dim].
        """
        rows, heads, group, dim = q.shape
        folded = q.transpose(0, 1).reshape(heads, rows * group, dim)
        out = torch.zeros_like(q)
        lse = torch.full((rows, heads, group), -torch.inf, device=q.device)
        for one in self.live:
            visible = self._visible(index, self.position, self.prefix.length[one].expand(rows))
            visible = visible[:, None].expand(-1, group, -1).reshape(rows * group, -1)
            k, v = self.prefix.k[index][one], self.prefix.v[index][one]
            part = attend(folded, k, v, visible, self.arch.scale, self.arch.attention_softcap)
            mine = (self.prefix_slot == one)[:, None, None]
            out_one = part[0].view(heads, rows, group, dim).transpose(0, 1)
            lse_one = part[1].view(heads, rows, group).transpose(0, 1)
            out = torch.where(mine[..., None], out_one, out)
            lse = torch.where(mine, lse_one, lse)
        return out, lse

    def _private(self, index: int, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A prompt of its own for each slot."""
        at = self.prefix_slot[: self.slots]
        visible = self._visible(index, self.position[: self.slots], self.prefix.length[at])
        k, v = self.prefix.k[index], self.prefix.v[index]
        if len(k) != len(at):  # several micro-batches share one store
            k, v = k[at], v[at]
        visible = visible[:, None, None]
        return attend(q, k, v, visible, self.arch.scale, self.arch.attention_softcap)

    def _visible(self, index: int, position: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Which prefix tokens each row sees, bool [rows, capacity]; position, length [rows]."""
        visible = self.prefix_index < length[:, None]
        if (window := self.arch.windows[index]) is not None:
            visible &= position[:, None] - self.prefix_index < window
        return visible


class Tiles(NamedTuple):
    """Stretches of a list of slots, each of slots with the same prompt, whose keys are read once.

    Attributes:
        order: Slots that have a request, prompt by prompt.
        prefix_slot: Where each tile's prompt lies.
        start, size: Which stretch of `order` each tile is.
    """

    order: list[int]
    prefix_slot: list[int]
    start: list[int]
    size: list[int]


def tiles_of(prefix_slots: Sequence[int | None], most: int) -> Tiles:
    """Tiles of at most `most` slots, given where each one's prompt lies (None: an idle slot)."""
    by_prefix: dict[int, list[int]] = {}
    for slot, prefix_slot in enumerate(prefix_slots):
        if prefix_slot is not None:
            by_prefix.setdefault(prefix_slot, []).append(slot)
    tiles = Tiles([], [], [], [])
    for prefix_slot, slots in sorted(by_prefix.items()):
        for at in range(0, len(slots), most):
            tiles.prefix_slot.append(prefix_slot)
            tiles.start.append(len(tiles.order) + at)
            tiles.size.append(min(most, len(slots) - at))
        tiles.order.extend(slots)
    return tiles
