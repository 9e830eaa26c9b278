"""What attention is given and gives, however it is computed.

A row's keys lie in two places: the prompt's, which many rows share, and the row's own.
`PlainAttention` is the reference; `TiledAttention` and `FastAttention` compute the same, sooner.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from pitboss.engine.architecture import Architecture
from pitboss.engine.config import EngineConfig
from pitboss.engine.prefix import PrefixStore


class Attention(ABC):
    """Attention of every slot to its prompt's prefix and to its own tokens.

    Args:
        slots: Rows of the batch that can be in flight; the others have no keys.
    """

    def __init__(
        self, arch: Architecture, prefix: PrefixStore, config: EngineConfig, slots: int
    ) -> None:
        self.arch, self.prefix, self.slots = arch, prefix, slots
        self.width, self.tokens, self.shared = config.width, config.token_capacity, config.shared
        self.device = prefix.length.device

    def _room_for_own(self, *shape: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Keys and values of the tokens that slots have run themselves, one tensor a block."""
        blocks = self.arch.blocks
        k, v = ([self.prefix.k[0].new_zeros(shape) for _ in blocks] for _ in range(2))
        return k, v

    @abstractmethod
    def seat(self, places: Sequence[int | None]) -> None:
        """Tell which prefix each slot sees; None for an idle slot."""

    @abstractmethod
    def begin(self, position: torch.Tensor, step: torch.Tensor) -> None:
        """Prepare one token of every row: its position in the text, its number of own tokens."""

    @abstractmethod
    def __call__(
        self, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """[width, heads·head_dim] of queries [width, heads, …], keys and values [width, kv, …]."""
