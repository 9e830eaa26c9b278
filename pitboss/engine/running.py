"""A softmax over keys that come part by part: what `scores` computes, in fewer steps.

Nothing is divided before all parts are in. Keys that a row does not see weigh exactly 0, so that a
part of which it sees nothing changes no bit of its result.
"""

from typing import NamedTuple

import torch

_LEAST = torch.finfo(torch.float32).min


class Running(NamedTuple):
    """Attention to the keys so far.

    Attributes:
        values: float32 [..., n, head_dim] Σ exp(score − top)·value.
        top: float32 [..., n, 1] largest score, the least number where nothing was seen.
        total: float32 [..., n, 1] Σ exp(score − top).
    """

    values: torch.Tensor
    top: torch.Tensor
    total: torch.Tensor

    def result(self) -> torch.Tensor:
        """Float32 [..., n, head_dim]; at least one key must have been seen."""
        return self.values / self.total


def scores_of(
    q: torch.Tensor, k: torch.Tensor, hidden: torch.Tensor, scale: float, softcap: float | None
) -> torch.Tensor:
    """float32 [..., batch, n, t].

    Args:
        q: [batch, n, head_dim].
        k: [..., batch, t, head_dim].
        hidden: float32, broadcastable to the result: −inf for keys that are not seen, else 0.
        scale: Factor on the products.
        softcap: Gemma 2's c in c·tanh(scores / c), or None.
    """
    scores = torch.matmul(q, k.transpose(-1, -2)).float()
    if softcap is None:
        return torch.add(hidden, scores, alpha=scale)
    return scores.mul_(scale / softcap).tanh_().mul_(softcap).add_(hidden)


def first(scores: torch.Tensor, v: torch.Tensor) -> Running:
    """Attention to one part: scores [batch, n, t] and values [batch, t, head_dim].

    The scores are used up, here and in `further`.
    """
    top = scores.amax(-1, keepdim=True).clamp_(min=_LEAST)
    weight = scores.sub_(top).exp_()
    return Running(torch.bmm(weight.to(v.dtype), v).float(), top, weight.sum(-1, keepdim=True))


def further(so_far: Running, scores: torch.Tensor, v: torch.Tensor) -> Running:
    """The same, with more parts: scores [parts, batch, n, t], values [parts, batch, t, head_dim].

    The parts are added one by one, so that an empty one more adds nothing.
    """
    top = torch.maximum(so_far.top, scores.amax(-1, keepdim=True).amax(0))
    weight = scores.sub_(top).exp_()
    shrink = torch.exp(so_far.top - top)
    values, total = so_far.values * shrink, so_far.total * shrink
    weights = weight.sum(-1, keepdim=True)
    for part, its_weights in zip(torch.matmul(weight.to(v.dtype), v), weights, strict=True):
        values += part
        total += its_weights
    return Running(values, top, total)
