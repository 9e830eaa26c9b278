"""What the patched logits must be: plain transformers, the whole text at once, no cache."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from bench.programs.base import Answer
from pitboss.engine import Patch, Request
from pitboss.models.hooks import blocks
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer


def reference(
    loaded: LoadedModel, saes: dict[int, SaeLayer], row: Request, tokens: tuple[int, ...]
) -> torch.Tensor:
    """Logits of the steps that produced `tokens`, float32 [steps, vocab] on the CPU.

    Every position from the last prompt token on is changed at the patched block, which is what a
    patch of every forward pass amounts to when keys and values are kept.
    """
    last = len(row.prompt) - 1
    ids = torch.tensor([row.prompt + tokens[:-1]], device=loaded.device)
    with torch.inference_mode(), _changed(loaded, saes, row):
        logits: torch.Tensor = loaded.model(ids).logits[0, last:].float().cpu()
    return logits


@contextmanager
def _changed(loaded: LoadedModel, saes: dict[int, SaeLayer], row: Request) -> Iterator[None]:
    """Every forward pass changes the row's positions from the last prompt token on."""
    if not row.patches:
        yield
        return
    (patch,) = row.patches
    change, last = _change(patch, saes), len(row.prompt) - 1

    def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[0, last:] = change(output[0, last:].float()).to(output.dtype)
        return output

    handle = blocks(loaded)[patch.layer].register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _change(patch: Patch, saes: dict[int, SaeLayer]) -> Callable[[torch.Tensor], torch.Tensor]:
    """A patch as a function of residual streams, float32 [positions, d_model]."""
    value = patch.value
    assert value is not None
    if patch.mode == "delta":

        def delta(x: torch.Tensor) -> torch.Tensor:
            v = x @ patch.enc + patch.shift
            a = torch.where(v > patch.threshold, torch.relu(patch.scale * v + patch.bias), 0.0)
            return x + (value - a)[:, None] * patch.dec

        return delta
    sae = saes[patch.layer]

    def reconstruct(x: torch.Tensor) -> torch.Tensor:
        features = sae.encode(x)
        features[:, patch.feature] = value
        return sae.decode(features)

    return reconstruct


def float32_copy(loaded: LoadedModel) -> LoadedModel:
    """The same model with float32 weights."""
    return replace(loaded, model=copy.deepcopy(loaded.model).float(), dtype=torch.float32)


def scores_like(answer: Answer, logits: torch.Tensor) -> torch.Tensor:
    """Logits in the form of an answer's scores: as they are, or the tokens' log probabilities."""
    if answer.scores.ndim == 2:
        return logits
    at = torch.tensor(answer.tokens)[:, None]
    return logits.double().log_softmax(-1).gather(1, at)[:, 0].float()
