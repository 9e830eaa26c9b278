"""Keys and values of the prompts (all tokens but the last), stored once for all their requests.

The last prompt token is not part of the prefix: it is a request's own first step, because that is
where patches begin. Everything before it is the same for every request of a prompt.
"""

import torch
import torch.nn.functional as F

from pitboss.engine.architecture import Architecture
from pitboss.engine.buffers import to_device
from pitboss.engine.config import BUCKET
from pitboss.engine.forward import Forward, RotaryTable
from pitboss.engine.softmax import attend

_TOKENS_CPU, _TOKENS_CUDA = 256, 2048  # of every prefill, see BUCKET

Prompt = tuple[int, ...]


class PrefixStore:
    """Slots for prompts of up to `capacity` tokens each, a multiple of BUCKET.

    Attributes:
        k, v: One tensor a block, [prefix slots, kv_heads, capacity, head_dim].
        length: int64 [prefix slots].
    """

    def __init__(
        self,
        arch: Architecture,
        rotary: RotaryTable,
        slots: int,
        capacity: int,
        like: torch.Tensor,
    ) -> None:
        self.arch, self.rotary, self.capacity = arch, rotary, capacity
        self.forward = Forward(arch)
        shape = (slots, arch.n_kv_heads, capacity, arch.head_dim)
        self.k = [like.new_zeros(shape) for _ in arch.blocks]
        self.v = [like.new_zeros(shape) for _ in arch.blocks]
        self.length = torch.zeros(slots, dtype=torch.int64, device=like.device)
        self.tokens = prefill_tokens(capacity, like.device)

    @torch.inference_mode()
    def fill(self, prompts: dict[int, Prompt]) -> None:
        """Compute and store the prefixes of these prompts (prefix slot → token ids)."""
        pack: dict[int, Prompt] = {}
        room = self.tokens
        for slot, prompt in sorted(prompts.items(), key=lambda item: (len(item[1]), item[0])):
            prefix = prompt[:-1]
            self.length[slot] = len(prefix)
            if not prefix:
                continue
            if _padded(prefix) > room:
                self._prefill(pack)
                pack, room = {}, self.tokens
            pack[slot] = prefix
            room -= _padded(prefix)
        if pack:
            self._prefill(pack)

    def _prefill(self, pack: dict[int, Prompt]) -> None:
        """Prefixes side by side in one pass; each attends to itself alone."""
        device = self.length.device
        ids = torch.zeros(self.tokens, dtype=torch.int64)
        position = torch.zeros(self.tokens, dtype=torch.int64)
        spans: dict[int, slice] = {}
        at = 0
        for slot, prefix in pack.items():
            spans[slot] = slice(at, at + _padded(prefix))
            ids[at : at + len(prefix)] = torch.tensor(prefix)
            position[spans[slot]] = torch.arange(_padded(prefix))
            at += _padded(prefix)
        position = to_device(position, device)
        x = self.arch.embed(to_device(ids, device))
        for index, block in enumerate(self.arch.blocks):
            q, k, v = self.forward.before(x, block, position, self.rotary.cos, self.rotary.sin)
            mixed = q.new_zeros(self.tokens, self.arch.n_heads * self.arch.head_dim)
            for slot, span in spans.items():
                here = tuple(part[span].transpose(0, 1) for part in (q, k, v))
                n = span.stop - span.start
                self.k[index][slot, :, :n] = here[1]
                self.v[index][slot, :, :n] = here[2]
                mixed[span] = self._causal(index, *here).transpose(0, 1).reshape(n, -1)
            x = self.forward.after(x, mixed, block)

    def _causal(
        self, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        """Attention of one prompt to itself: [heads, tokens, head_dim]."""
        arch, n, window = self.arch, q.shape[1], self.arch.windows[index]
        if arch.attention_softcap is None and (window is None or n <= window):
            return F.scaled_dot_product_attention(
                q[None], k[None], v[None], is_causal=True, scale=arch.scale, enable_gqa=True
            )[0]
        back = torch.arange(n, device=q.device)[:, None] - torch.arange(n, device=q.device)
        visible = (back >= 0) & (back < (window or n))
        grouped = q.reshape(arch.n_kv_heads, -1, n, arch.head_dim)
        out, _ = attend(
            grouped, k[:, None], v[:, None], visible, arch.scale, arch.attention_softcap
        )
        return out.reshape(arch.n_heads, n, -1)


def prefill_tokens(capacity: int, device: torch.device) -> int:
    """Tokens of every prefill on this device: enough for full matrix products, and one prompt."""
    return max(_TOKENS_CUDA if device.type == "cuda" else _TOKENS_CPU, capacity)


def _padded(prefix: Prompt) -> int:
    return -(-len(prefix) // BUCKET) * BUCKET
