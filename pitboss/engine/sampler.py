"""Draw the next token: temperature, top-k, top-p, and the Gumbel maximum over what is left."""

import torch
import torch.nn.functional as F

from pitboss.engine.buffers import SlotBuffers
from pitboss.engine.compiled import compiled
from pitboss.engine.forward import cap
from pitboss.engine.noise import gumbel

# Rows that keep at most this many tokens share one way of drawing; a row that keeps more has its
# own. So a row's arithmetic does not depend on what its neighbours keep.
NARROW = 64
# Vocabularies larger than this are searched group by group.
_GROUPED_ABOVE = 16_384
_GROUP = 64


def sample(
    raw: torch.Tensor,
    step: torch.Tensor,
    buffers: SlotBuffers,
    eos: torch.Tensor,
    softcap: float | None,
    wide: bool,
    fast: bool = False,
) -> torch.Tensor:
    """The next token of every row.

    Args:
        raw: [rows, vocab] logits before any soft cap; changed in place.
        step: int64 [rows], number of tokens the row has generated so far.
        eos: int64 [n], ids that may not come before a row's `min_new` tokens.
        softcap: The model's soft cap of its logits.
        wide: Whether some row keeps more than NARROW tokens.
        fast: Compile what eager kernels do badly.

    Returns:
        int64 [rows].
    """
    if len(eos):
        too_early = (step < buffers.ints["min_new"])[:, None]
        raw[:, eos] = raw[:, eos].masked_fill(too_early, -torch.inf)
    ints, floats = buffers.ints, buffers.floats
    words = torch.stack([ints["word0"], ints["word1"]], dim=1)
    settings = step, floats["temperature"], ints["top_k"], floats["top_p"], words
    vocab = raw.shape[1]
    values, tokens = largest(raw, min(NARROW, vocab), fast)
    draw = compiled(_draw) if fast else _draw
    drawn = draw(_capped(values, softcap), tokens, *settings)
    if not wide or vocab <= NARROW:
        return drawn
    values, tokens = raw.sort(dim=-1, descending=True, stable=True)
    keeps_more = (ints["top_k"] == 0) | (ints["top_k"] > NARROW)
    every = _draw(_capped(values, softcap), tokens, *settings)
    return torch.where(keeps_more, every, drawn)


def largest(logits: torch.Tensor, k: int, fast: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of [rows, vocab], in falling order, and their ids.

    In a large vocabulary only the k groups of tokens with the largest maxima are searched: each of
    the k largest lies in one of them.
    """
    rows, vocab = logits.shape
    if vocab <= _GROUPED_ABOVE:
        values, tokens = logits.topk(k, dim=-1)
        return values, tokens
    if vocab % _GROUP:
        logits = F.pad(logits, (0, _GROUP - vocab % _GROUP), value=-torch.inf)
    maxima = compiled(_maxima)(logits) if fast else _maxima(logits)
    _, groups = maxima.topk(k, dim=-1, sorted=False)
    groups = groups.sort(dim=-1).values  # ties among tokens are broken in the order of their ids
    inside = torch.arange(_GROUP, device=logits.device)
    tokens = (groups[:, :, None] * _GROUP + inside).view(rows, -1)
    values, at = logits.gather(1, tokens).topk(k, dim=-1)
    return values, tokens.gather(1, at)


def _maxima(logits: torch.Tensor) -> torch.Tensor:
    """The largest of each group of tokens, [rows, groups]."""
    return logits.view(len(logits), -1, _GROUP).amax(-1)


def _capped(values: torch.Tensor, softcap: float | None) -> torch.Tensor:
    """Soft-capped logits in which a token that may not come stays impossible."""
    return cap(values, softcap).masked_fill(values == -torch.inf, -torch.inf)


def _draw(
    values: torch.Tensor,
    tokens: torch.Tensor,
    step: torch.Tensor,
    temperature: torch.Tensor,
    top_k: torch.Tensor,
    top_p: torch.Tensor,
    words: torch.Tensor,
) -> torch.Tensor:
    """One token of each row from candidates [rows, n] in falling order of their logits."""
    n = values.shape[1]
    # With k = 1 a greedy row takes the same path as a sampled one.
    greedy = temperature == 0
    values = values / torch.where(greedy, 1.0, temperature)[:, None]
    rank = torch.arange(n, device=values.device)
    limit = torch.where(greedy, 1, torch.where(top_k == 0, n, top_k))
    values = values.masked_fill(rank >= limit[:, None], -torch.inf)
    probability = values.softmax(-1)
    before = probability.cumsum(-1) - probability
    values = values.masked_fill((before >= top_p[:, None]) & (rank > 0), -torch.inf)
    score = values.double() + gumbel(words, step, tokens)
    return tokens.gather(1, score.argmax(-1, keepdim=True)).squeeze(1)
