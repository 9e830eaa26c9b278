"""Keys and values of the prompts (all tokens but the last), stored once for all their rows.

The last prompt token is not part of the prefix: it is a row's own first step, because that is where
patches begin. Everything before it is the same for every row of a prompt.
"""

import torch
import torch.nn.functional as F

from pitboss.engine.architecture import Architecture
from pitboss.engine.attention import attend
from pitboss.engine.forward import RotaryTable, run_block

# Every prefill has this many prompts and a length that is a multiple of BUCKET, padded where there
# are fewer, so that a prompt's keys and values do not depend on which prompts came with it.
PROMPTS = 4
BUCKET = 64


class PrefixStore:
    """`places` prompts of up to `capacity` tokens each, a multiple of BUCKET.

    Attributes:
        k, v: One tensor a block, [places, kv_heads, capacity, head_dim].
        length: int64 [places].
    """

    def __init__(
        self,
        arch: Architecture,
        rotary: RotaryTable,
        places: int,
        capacity: int,
        like: torch.Tensor,
    ) -> None:
        self.arch, self.rotary, self.capacity = arch, rotary, capacity
        shape = (places, arch.n_kv_heads, capacity, arch.head_dim)
        self.k = [like.new_zeros(shape) for _ in arch.blocks]
        self.v = [like.new_zeros(shape) for _ in arch.blocks]
        self.length = torch.zeros(places, dtype=torch.int64, device=like.device)

    @torch.inference_mode()
    def fill(self, prompts: dict[int, tuple[int, ...]]) -> None:
        """Compute and store the prefixes of these prompts (place → token ids)."""
        by_bucket: dict[int, list[int]] = {}
        for place, prompt in sorted(prompts.items()):
            length = len(prompt) - 1
            if length:
                by_bucket.setdefault(-(-length // BUCKET) * BUCKET, []).append(place)
            self.length[place] = length
        for bucket, places in sorted(by_bucket.items()):
            for start in range(0, len(places), PROMPTS):
                some = places[start : start + PROMPTS]
                self._prefill(some, [prompts[place][:-1] for place in some], bucket)

    def _prefill(self, places: list[int], prefixes: list[tuple[int, ...]], bucket: int) -> None:
        device = self.length.device
        ids = torch.zeros(PROMPTS, bucket, dtype=torch.int64)
        for i, prefix in enumerate(prefixes):
            ids[i, : len(prefix)] = torch.tensor(prefix)
        position = torch.arange(bucket, device=device).repeat(PROMPTS)
        x = self.arch.embed(ids.to(device).view(-1))
        at = torch.tensor(places, device=device)

        def causal(index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            q, k, v = (_by_prompt(t, bucket) for t in (q, k, v))
            self.k[index][at, :, :bucket] = k[: len(places)]
            self.v[index][at, :, :bucket] = v[: len(places)]
            return self._causal_attention(index, q, k, v)

        for index in range(len(self.arch.blocks)):
            x = run_block(self.arch, index, x, position, self.rotary, causal)

    def _causal_attention(
        self, index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
    ) -> torch.Tensor:
        arch = self.arch
        n = q.shape[2]
        window = arch.blocks[index].window
        if window is None and arch.attention_softcap is None:
            out = F.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=arch.scale, enable_gqa=True
            )
        else:
            back = torch.arange(n, device=q.device)[:, None] - torch.arange(n, device=q.device)
            visible = (back >= 0) & (back < (window or n))
            q = q.view(PROMPTS, arch.n_kv_heads, -1, n, arch.head_dim)
            out, _ = attend(
                q, k[:, :, None], v[:, :, None], visible, arch.scale, arch.attention_softcap
            )
            out = out.reshape(PROMPTS, arch.n_heads, n, -1)
        return out.transpose(1, 2).reshape(PROMPTS * n, -1)

    def attend_shared(
        self,
        index: int,
        q: torch.Tensor,
        position: torch.Tensor,
        place: torch.Tensor,
        live: set[int],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Few prompts, many rows: a prompt's keys are read once, the rows folded into its queries.

        Args:
            q: [rows, kv_heads, group, head_dim].
            position: int64 [rows], of the query token.
            place: int64 [rows], whose prefix a row sees.
            live: Places that any row uses.
        """
        rows, heads, group, dim = q.shape
        folded = q.transpose(0, 1).reshape(heads, rows * group, dim)
        out = torch.zeros_like(q)
        lse = torch.full((rows, heads, group), -torch.inf, device=q.device)
        for one in sorted(live):
            visible = self._visible(index, position, self.length[one])
            visible = visible[:, None].expand(-1, group, -1).reshape(rows * group, -1)
            k, v = self.k[index][one], self.v[index][one]
            part = attend(folded, k, v, visible, self.arch.scale, self.arch.attention_softcap)
            mine = (place == one)[:, None, None]
            out_one = part[0].view(heads, rows, group, dim).transpose(0, 1)
            lse_one = part[1].view(heads, rows, group).transpose(0, 1)
            out = torch.where(mine[..., None], out_one, out)
            lse = torch.where(mine, lse_one, lse)
        return out, lse

    def attend_private(
        self, index: int, q: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A prompt for each row: row i sees the prefix at place i. Shapes as in `attend_shared`."""
        visible = self._visible(index, position, self.length)[:, None, None]
        k, v = self.k[index], self.v[index]
        return attend(q, k, v, visible, self.arch.scale, self.arch.attention_softcap)

    def _visible(self, index: int, position: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        """Which prefix tokens each row sees, bool [rows, capacity]; length is [] or [rows]."""
        at = torch.arange(self.capacity, device=position.device)
        visible = at < length.expand(len(position))[:, None]
        window = self.arch.blocks[index].window
        if window is not None:
            visible &= position[:, None] - at < window
        return visible


def _by_prompt(x: torch.Tensor, bucket: int) -> torch.Tensor:
    """[prompts·bucket, heads, head_dim] → [prompts, heads, bucket, head_dim]."""
    return x.view(PROMPTS, bucket, *x.shape[1:]).transpose(1, 2)
