"""The attention of `PlainAttention` in two kernels, which a CUDA graph can hold."""

from collections.abc import Sequence

import torch
import triton

from pitboss.engine.architecture import Architecture
from pitboss.engine.attention import Attention, tiles_of
from pitboss.engine.buffers import host_buffer
from pitboss.engine.config import EngineConfig
from pitboss.engine.kernels import own_attention, prefix_attention
from pitboss.engine.prefix import PrefixStore

# Measured on an H200 with 8B shapes, 150 prompt tokens and 50 own tokens: slots · group queries in
# a tile of the prefix kernel, keys read at once, warps, loads under way.
_PREFIX = {"queries": 64, "BLOCK": 32, "num_warps": 4, "num_stages": 3}
_OWN = {"BLOCK": 16, "num_warps": 1, "num_stages": 3}
_LEAST = 16  # rows of the smallest matrix product of the tensor cores


class FastAttention(Attention):
    """Prefix tiles by tensor cores, then own tokens slot by slot, merged in the second kernel.

    The tile table and all outputs are buffers that never move. A slot without a request is computed
    on like the others and read by nobody; rows beyond the slots stay zero.
    """

    def __init__(
        self, arch: Architecture, prefix: PrefixStore, config: EngineConfig, slots: int
    ) -> None:
        super().__init__(arch, prefix, config, slots)
        self.own_k, self.own_v = self._own_keys_and_values(
            slots, arch.n_kv_heads, self.tokens, arch.head_dim
        )
        like = prefix.k[0]
        exact = like.dtype == torch.float32
        group = arch.n_heads // arch.n_kv_heads
        padded = triton.next_power_of_2(group)
        prefix_tile = dict(_PREFIX)
        self.tile_slots = max(1, prefix_tile.pop("queries") // padded)
        self.tiles = -(-slots // self.tile_slots) + len(prefix.length) if self.shared else 0
        # prefix slot, start and size of each tile; slots in order of their prompts
        size = (3 * self.tiles + slots,)
        self._host = host_buffer(size, torch.int32, self.device)
        self._table = torch.zeros(size, dtype=torch.int32, device=self.device)
        self.mixed = like.new_zeros(self.width, arch.n_heads * arch.head_dim)
        if self.shared:
            self._out = like.new_zeros(slots, arch.n_heads, arch.head_dim)
            self._lse = torch.full((slots, arch.n_heads), -torch.inf, device=self.device)
        self._constants = {
            "KV_HEADS": arch.n_kv_heads,
            "GROUP": group,
            "DIM": arch.head_dim,
            "HAS_CAP": arch.attention_softcap is not None,
            # IEEE products for float32: TF32 would keep ten bits.
            "PRECISION": "ieee" if exact else "tf32",
        }
        self._prefix_tile = prefix_tile | {"GROUP_PAD": padded, "SLOTS": self.tile_slots}
        self._own_tile = _OWN | {"GROUP_PAD": max(_LEAST, padded)}
        if exact or arch.head_dim > 128:  # twice the bytes in shared memory
            self._prefix_tile["num_stages"] = self._own_tile["num_stages"] = 2

    def assign(self, prefix_slots: Sequence[int | None]) -> None:
        """Tell which prefix each slot sees; None for an idle slot."""
        if not self.shared:
            self._host[: len(prefix_slots)] = torch.tensor([at or 0 for at in prefix_slots])
            self._table.copy_(self._host, non_blocking=True)
            return
        tiles = tiles_of(prefix_slots, self.tile_slots)
        found = torch.tensor([tiles.prefix_slot, tiles.start, tiles.size])
        table = torch.zeros(3, self.tiles, dtype=torch.int32)
        table[:, : found.shape[1]] = found
        self._host[: 3 * self.tiles] = table.view(-1)
        self._host[3 * self.tiles :][: len(tiles.order)] = torch.tensor(tiles.order)
        self._table.copy_(self._host, non_blocking=True)

    def begin(self, position: torch.Tensor, step: torch.Tensor) -> None:
        """Remember one token's position and step; the kernels work out what is visible."""
        self.position, self.step = position, step

    def __call__(
        self, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """[width, heads·head_dim] of queries [width, heads, …], keys and values [width, kv, …]."""
        arch = self.arch
        window = arch.windows[index]
        common = self._constants | {"HAS_WINDOW": window is not None}
        numbers = (arch.scale, arch.attention_softcap or 0.0, window or 0)
        prefix_k, prefix_v = self.prefix.k[index], self.prefix.v[index]
        length, capacity = self.prefix.length, self.prefix.capacity
        if self.shared:
            at, start, size = self._table[: 3 * self.tiles].view(3, self.tiles).unbind()
            out, lse = self._out, self._lse
            prefix_attention[(self.tiles, arch.n_kv_heads)](
                q, prefix_k, prefix_v, out, lse,
                self._table[3 * self.tiles :], at, start, size, length, self.position,
                capacity, *numbers,
                **self._prefix_tile, **common,
            )  # fmt: skip
        else:
            out, lse = q, q  # not read
        keep = self.tokens > 0
        own_attention[(self.slots, arch.n_kv_heads)](
            q, k, v,
            self.own_k[index] if keep else k, self.own_v[index] if keep else v,
            prefix_k, prefix_v, out, lse,
            self.mixed, self._table, length, self.position, self.step,
            v.stride(0), self.tokens, capacity, *numbers,
            KEEP=keep, SHARED=self.shared, **self._own_tile, **common,
        )  # fmt: skip
        return self.mixed
