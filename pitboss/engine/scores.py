"""Attention over one part of a row's keys, and the merging of two parts."""

import torch


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
