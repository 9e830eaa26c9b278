"""Draw the next token: temperature, top-k, top-p, and the Gumbel maximum over what is left."""

from dataclasses import dataclass

import torch

from pitboss.engine.noise import gumbel


@dataclass(slots=True)
class SamplingBuffers:
    """Sampling settings of every row in the batch; each tensor has shape [rows] but `words`."""

    temperature: torch.Tensor  # float32
    top_k: torch.Tensor  # int64; 0 keeps all
    top_p: torch.Tensor  # float32
    min_new: torch.Tensor  # int64
    words: torch.Tensor  # int64 [rows, 2]

    @classmethod
    def empty(cls, rows: int, device: torch.device) -> "SamplingBuffers":
        return cls(
            temperature=torch.zeros(rows, device=device),
            top_k=torch.ones(rows, dtype=torch.int64, device=device),
            top_p=torch.ones(rows, device=device),
            min_new=torch.zeros(rows, dtype=torch.int64, device=device),
            words=torch.zeros(rows, 2, dtype=torch.int64, device=device),
        )


def sample(
    logits: torch.Tensor, step: torch.Tensor, buffers: SamplingBuffers, eos: torch.Tensor, most: int
) -> torch.Tensor:
    """The next token of every row.

    Args:
        logits: float32 [rows, vocab].
        step: int64 [rows], number of tokens the row has generated so far.
        eos: int64 [n], ids that may not come before `min_new` tokens.
        most: The largest number of candidates any row needs (vocab size if one keeps all).

    Returns:
        int64 [rows].
    """
    too_early = (step < buffers.min_new)[:, None]
    logits = logits.index_fill(1, eos, -torch.inf).where(too_early, logits)
    # With k = 1 a greedy row takes the same path as a sampled one.
    values, tokens = logits.topk(most, dim=-1)
    greedy = buffers.temperature == 0
    values = values / torch.where(greedy, 1.0, buffers.temperature)[:, None]
    rank = torch.arange(most, device=logits.device)
    limit = torch.where(greedy, 1, torch.where(buffers.top_k == 0, most, buffers.top_k))
    values = values.masked_fill(rank >= limit[:, None], -torch.inf)
    probability = values.softmax(-1)
    before = probability.cumsum(-1) - probability
    values = values.masked_fill((before >= buffers.top_p[:, None]) & (rank > 0), -torch.inf)
    score = values.double() + gumbel(buffers.words, step, tokens)
    return tokens.gather(1, score.argmax(-1, keepdim=True)).squeeze(1)
