"""Attention on a CPU: a prompt's keys for a tile of slots, own keys as far as any slot has come."""

from collections.abc import Sequence

import torch

from pitboss.engine.architecture import Architecture
from pitboss.engine.attention import Attention, tiles_of
from pitboss.engine.config import EngineConfig
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.softmax import RunningSoftmax, first, further, scores_of

# Slots of a tile. All tiles are filled up to it, so that their products have one shape.
_TILE = 64
# Own keys of a part. All parts have as many, so that a request's bits do not depend on how far its
# neighbours have come: that decides only how many parts there are.
_PART = 32


class TiledAttention(Attention):
    """What `PlainAttention` computes, without what it computes in vain.

    Own keys lie part by part, all slots' first parts before all second ones: what a step reads is
    one stretch of memory. What hides keys from slots is worked out once a step, for all blocks.
    """

    def __init__(
        self, arch: Architecture, prefix: PrefixStore, config: EngineConfig, slots: int
    ) -> None:
        super().__init__(arch, prefix, config, slots)
        self.group = arch.n_heads // arch.n_kv_heads
        self.part = _PART if self.tokens else 1  # or there is the present key alone
        parts = -(-max(self.tokens, 1) // self.part)
        batch = slots * arch.n_kv_heads
        self.own_k, self.own_v = self._own_keys_and_values(parts, batch, self.part, arch.head_dim)
        self.own_index = torch.arange(parts * self.part, device=self.device)
        self.prefix_index = torch.arange(prefix.capacity, device=self.device)
        self.batch_index = torch.arange(batch, device=self.device).view(slots, -1)

    def assign(self, prefix_slots: Sequence[int | None]) -> None:
        """Tell which prefix each slot sees; None for an idle slot."""
        if not self.shared:
            self.prefix_slot = self._tensor([at or 0 for at in prefix_slots])
            return
        tiles = tiles_of(prefix_slots, _TILE)
        members: list[int] = []
        at = [0] * len(prefix_slots)  # where in `members` a slot is; an idle one is anywhere
        for start, size in zip(tiles.start, tiles.size, strict=True):
            slots = tiles.order[start : start + size]
            for slot in slots:
                at[slot] = len(members)
                members.append(slot)
            members += slots[-1:] * (_TILE - size)
        self.prefix_slot = self._tensor(tiles.prefix_slot)
        self.members, self.at = self._tensor(members), self._tensor(at)

    def _tensor(self, values: list[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)

    def begin(self, position: torch.Tensor, step: torch.Tensor) -> None:
        """Prepare one token of every row: its position in the text, its number of own tokens."""
        n = self.slots
        self.step, position = step[:n], position[:n]
        length = self.prefix.length[self.prefix_slot]
        if self.shared:
            position = position[self.members].view(-1, _TILE).repeat_interleave(self.group, 1)
        else:
            position = position[:, None]
        beyond = (self.prefix_index >= length[:, None])[:, None]
        back = position[:, :, None] - self.prefix_index
        self.prefix_hidden = self._hidden(beyond, back)
        self._begin_own()

    def _begin_own(self) -> None:
        """Which parts of own keys are read, what they hide, and where the new keys go."""
        self.parts = int(self.step.max()) // self.part + 1
        key = self.own_index[: self.parts * self.part].view(self.parts, 1, 1, -1)
        back = self.step[:, None, None] - key
        self.own_hidden = self._hidden(back < 0, back)
        row = self.step // self.part * self.batch_index.numel()
        row = (row[:, None] + self.batch_index) * self.part + self.step[:, None] % self.part
        self.own_row = row.flatten()

    def _hidden(self, hidden: torch.Tensor, back: torch.Tensor) -> dict[int | None, torch.Tensor]:
        """What to add to the scores for each window: […, slots or tiles · heads, n, t].

        Args:
            hidden: Keys that are not seen whatever the window.
            back: How many tokens before the slot's present one they are.
        """
        found = {}
        for window in set(self.arch.windows):
            mask = hidden if window is None else hidden | (back >= window)
            mask = torch.zeros(mask.shape, device=self.device).masked_fill_(mask, -torch.inf)
            found[window] = mask.repeat_interleave(self.arch.n_kv_heads, -3)
        return found

    def __call__(
        self, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """[width, heads·head_dim] of queries [width, heads, …], keys and values [width, kv, …]."""
        n, heads, dim = self.slots, self.arch.n_kv_heads, self.arch.head_dim
        q = q[:n].view(n, heads, self.group, dim)
        found = self._shared(index, q) if self.shared else self._private(index, q)
        found = self._own(found, index, q.flatten(0, 1), k[:n], v[:n])
        mixed = found.result().to(q.dtype).view(n, -1)
        if n == self.width:
            return mixed
        return torch.cat([mixed, mixed.new_zeros(self.width - n, mixed.shape[1])])

    def _shared(self, index: int, q: torch.Tensor) -> RunningSoftmax:
        """A tile's slots are folded into its queries; [slots · kv_heads, group, …]."""
        _, heads, group, dim = q.shape
        folded = q[self.members].view(-1, _TILE, heads, group, dim).transpose(1, 2)
        folded = folded.reshape(-1, _TILE * group, dim)
        k, v = (x[index][self.prefix_slot].flatten(0, 1) for x in (self.prefix.k, self.prefix.v))
        part = first(self._scores(index, folded, k, self.prefix_hidden), v)
        return RunningSoftmax(*(self._by_slot(x) for x in part))

    def _by_slot(self, x: torch.Tensor) -> torch.Tensor:
        """[tiles · kv_heads, slots of a tile · group, …] → [slots · kv_heads, group, …]."""
        x = x.view(-1, self.arch.n_kv_heads, _TILE, self.group, x.shape[-1]).transpose(1, 2)
        return x.flatten(0, 1)[self.at].flatten(0, 1)

    def _private(self, index: int, q: torch.Tensor) -> RunningSoftmax:
        """A prompt of its own for each slot."""
        k, v = self.prefix.k[index], self.prefix.v[index]
        if len(k) != len(self.prefix_slot):  # several micro-batches share one store
            k, v = k[self.prefix_slot], v[self.prefix_slot]
        scores = self._scores(index, q.flatten(0, 1), k.flatten(0, 1), self.prefix_hidden)
        return first(scores, v.flatten(0, 1))

    def _own(
        self, found: RunningSoftmax, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> RunningSoftmax:
        keys, values = self.own_k[index], self.own_v[index]
        for every, new in ((keys, k), (values, v)):
            every.view(-1, self.arch.head_dim).index_copy_(0, self.own_row, new.flatten(0, 1))
        keys, values = keys[: self.parts], values[: self.parts]
        return further(found, self._scores(index, q, keys, self.own_hidden), values)

    def _scores(
        self,
        index: int,
        q: torch.Tensor,
        k: torch.Tensor,
        hidden: dict[int | None, torch.Tensor],
    ) -> torch.Tensor:
        window = hidden[self.arch.windows[index]]
        return scores_of(q, k, window, self.arch.scale, self.arch.attention_softcap)
