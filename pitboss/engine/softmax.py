"""Softmax over keys that come in parts: `attend` and `merge`, the reference, and `RunningSoftmax`.

With lse_i the log-sum-exp of part i's scores and o_i its output, the joint output is
Σ o_i·exp(lse_i − lse) with lse = log Σ exp(lse_i). `RunningSoftmax` computes the same in fewer
steps: nothing is divided before all parts are in. Keys that a query does not see weigh exactly 0,
so that a part of which it sees nothing changes no bit of its result.
"""

from typing import NamedTuple

import torch

_LEAST = torch.finfo(torch.float32).min


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    visible: torch.Tensor,
    scale: float,
    softcap: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention over one part.

    Args:
        q: [..., n, head_dim].
        k, v: [..., t, head_dim].
        visible: bool, broadcastable to [..., n, t].
        scale: Factor on the scores.
        softcap: Gemma 2's c in c·tanh(scores / c), or None.

    Returns:
        Output [..., n, head_dim] (zero where nothing is visible) and log-sum-exp, float32
        [..., n] (−inf there).
    """
    scores = torch.matmul(q, k.transpose(-1, -2)) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores.float().masked_fill(~visible, -torch.inf)
    top = scores.amax(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).min)
    weight = torch.exp(scores - top)
    total = weight.sum(-1, keepdim=True)
    share = weight / total.clamp(min=torch.finfo(torch.float32).tiny)
    out = torch.matmul(share.to(v.dtype), v)
    return out, (top + torch.log(total)).squeeze(-1)


def merge(
    a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Joint output of two parts given as (output, log-sum-exp); at least one must see a key.

    `torch.logaddexp` would do, but its last bits depend on where in the tensor an element lies.
    """
    top = torch.maximum(a[1], b[1])
    weight_a, weight_b = torch.exp(a[1] - top), torch.exp(b[1] - top)
    total = weight_a + weight_b
    share_a, share_b = (weight_a / total)[..., None], (weight_b / total)[..., None]
    return (a[0].float() * share_a + b[0].float() * share_b).to(a[0].dtype)


class RunningSoftmax(NamedTuple):
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


def first(scores: torch.Tensor, v: torch.Tensor) -> RunningSoftmax:
    """Attention to one part: scores [batch, n, t] and values [batch, t, head_dim].

    The scores are used up, here and in `further`.
    """
    top = scores.amax(-1, keepdim=True).clamp_(min=_LEAST)
    weight = scores.sub_(top).exp_()
    return RunningSoftmax(
        torch.bmm(weight.to(v.dtype), v).float(), top, weight.sum(-1, keepdim=True)
    )


def further(so_far: RunningSoftmax, scores: torch.Tensor, v: torch.Tensor) -> RunningSoftmax:
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
    return RunningSoftmax(values, top, total)
