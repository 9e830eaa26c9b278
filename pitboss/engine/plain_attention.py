"""Attention in parts that are merged by their log-sum-exp: the plain way, which is the reference.

Each part of a row's keys is attended to on its own; with lse_i the log-sum-exp of part i's scores
and o_i its output, the joint output is Σ o_i·exp(lse_i − lse) with lse = log Σ exp(lse_i).
"""

from collections.abc import Sequence

import torch

from pitboss.engine.architecture import Architecture
from pitboss.engine.attention import Attention
from pitboss.engine.config import EngineConfig
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.scores import attend, merge


class PlainAttention(Attention):
    """One prompt at a time, whoever has it, and every own key there is room for."""

    def __init__(
        self, arch: Architecture, prefix: PrefixStore, config: EngineConfig, slots: int
    ) -> None:
        super().__init__(arch, prefix, config, slots)
        self.own_k, self.own_v = self._room_for_own(
            slots, arch.n_kv_heads, self.tokens, arch.head_dim
        )
        device = self.device
        self.place = torch.zeros(self.width, dtype=torch.int64, device=device)
        self.live: list[int] = []
        self.slot_index = torch.arange(slots, device=device)
        self.own_index = torch.arange(max(self.tokens, 1), device=device)
        self.prefix_index = torch.arange(prefix.capacity, device=device)

    def seat(self, places: Sequence[int | None]) -> None:
        """Tell which prefix each slot sees; None for an idle slot."""
        known = [place or 0 for place in places]
        self.place[: len(known)] = torch.tensor(known, device=self.device)
        self.live = sorted({place for place in places if place is not None})

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
            mine = (self.place == one)[:, None, None]
            out_one = part[0].view(heads, rows, group, dim).transpose(0, 1)
            lse_one = part[1].view(heads, rows, group).transpose(0, 1)
            out = torch.where(mine[..., None], out_one, out)
            lse = torch.where(mine, lse_one, lse)
        return out, lse

    def _private(self, index: int, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A prompt of its own for each slot."""
        place = self.place[: self.slots]
        visible = self._visible(index, self.position[: self.slots], self.prefix.length[place])
        k, v = self.prefix.k[index], self.prefix.v[index]
        if len(k) != len(place):  # several gangs of slots share one store
            k, v = k[place], v[place]
        visible = visible[:, None, None]
        return attend(q, k, v, visible, self.arch.scale, self.arch.attention_softcap)

    def _visible(self, index: int, position: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Which prefix tokens each row sees, bool [rows, capacity]; position, length [rows]."""
        visible = self.prefix_index < length[:, None]
        if (window := self.arch.windows[index]) is not None:
            visible &= position[:, None] - self.prefix_index < window
        return visible
