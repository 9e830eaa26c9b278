"""Residual stream vectors of whole texts, taken at block outputs with plain forward hooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pitboss.models.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class Sequence:
    """Token ids of a prompt and of what followed it."""

    prompt: list[int]
    response: list[int]


@dataclass(frozen=True, slots=True)
class Activations:
    """Residual vectors of some texts, BOS left out (it is an outlier SAEs are not trained on).

    Attributes:
        tokens: [layers, n, d], all positions of all texts.
        last: [n] bool, the last prompt token: where decisions are read and patched.
        generated: [n] bool, tokens of the response.
    """

    tokens: Tensor
    last: Tensor
    generated: Tensor


@contextmanager
def captured(blocks: nn.ModuleList) -> Iterator[list[Tensor]]:
    """Within the block, the list holds the last forward's output [b, t, d] of each block."""
    outputs: list[Tensor] = [torch.empty(0)] * len(blocks)

    def keep(index: int, output: Tensor) -> None:
        outputs[index] = output

    handles = [
        block.register_forward_hook(lambda _module, _args, out, index=index: keep(index, out))
        for index, block in enumerate(blocks)
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def collect(
    loaded: LoadedModel, sequences: list[Sequence], *, last_only: bool = False, batch: int = 64
) -> Activations:
    """Runs the texts, longest last, and gathers the block outputs.

    Args:
        last_only: Keep the last prompt token of each text only (then in the given order).
    """
    kept: list[tuple[list[int], Tensor, Tensor, Tensor]] = []
    order = sorted(range(len(sequences)), key=lambda i: len(_ids(sequences[i], last_only)))
    with captured(loaded.model.model.layers) as outputs:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            part = _forward(loaded, [sequences[i] for i in rows], last_only)
            wanted = part == 2 if last_only else part > 0
            states = torch.stack([output[wanted] for output in outputs])
            kept.append((rows, states, part[wanted] == 2, part[wanted] == 3))
    tokens = torch.cat([states for _, states, _, _ in kept], dim=1)
    last = torch.cat([mask for _, _, mask, _ in kept])
    generated = torch.cat([mask for _, _, _, mask in kept])
    if last_only:
        tokens = tokens[:, torch.argsort(torch.tensor(order))]
    return Activations(tokens, last, generated)


def _ids(sequence: Sequence, last_only: bool) -> list[int]:
    return sequence.prompt if last_only else [*sequence.prompt, *sequence.response]


def _forward(loaded: LoadedModel, sequences: list[Sequence], last_only: bool) -> Tensor:
    """Runs one right-padded batch; returns what each position is [b, t]:
    0 padding or BOS, 1 prompt, 2 last prompt token, 3 response."""
    rows = [_ids(s, last_only) for s in sequences]
    ids = torch.full((len(rows), max(map(len, rows))), loaded.tokenizer.pad_token_id)
    part = torch.zeros_like(ids)
    for row, (sequence, tokens) in enumerate(zip(sequences, rows, strict=True)):
        last = len(sequence.prompt) - 1
        ids[row, : len(tokens)] = torch.tensor(tokens)
        part[row, 1 : len(tokens)] = 1
        part[row, last] = 2
        part[row, last + 1 : len(tokens)] = 3
    mask = (part > 0).long()
    mask[:, 0] = 1
    loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
    return part
