"""The most active places of features in texts, streaming: no other activation is kept.

Every text runs alone through the model, without padding, and the blocks' outputs are taken at the
hook point at which features are measured and patched (`pitboss.experiments.runtime.residuals`).

Two texts with the same beginning have the same activations there. So the texts are put in the order
of their tokens, and of each only what it does not share with the one before is looked at: every
distinct beginning counts once. The first token, the BOS, is left out: its state is the same in all
texts, and much larger than any other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pitboss.engine.pressure import Pressure
from pitboss.errors import OutOfMemory
from pitboss.experiments.runtime.residuals import Passes
from pitboss.models.loading import LoadedModel
from pitboss.saes.bank import FeatureBank


class Text(NamedTuple):
    """Token ids of a prompt and its response; how many are the prompt's; where it is stored."""

    tokens: tuple[int, ...]
    prompt: int
    source: str


class _Best:
    """The most active places of n features, streaming: [n, top] each, most active first.

    Attributes:
        values: float32, 0 where there is none yet.
        text, position: int64.
    """

    def __init__(self, n: int, top: int) -> None:
        self.values = np.zeros((n, top), np.float32)
        self.text, self.position = np.zeros((2, n, top), np.int64)

    def add(self, values: NDArray[np.float32], position: NDArray[np.int64], text: int) -> None:
        """One text's largest activation of each feature [n], and where; equal ones come later."""
        for i in np.flatnonzero(values > self.values[:, -1]):
            at = int(np.searchsorted(-self.values[i], -values[i], side="right"))
            for kept, new in (
                (self.values, values[i]),
                (self.text, text),
                (self.position, position[i]),
            ):
                kept[i, at + 1 :] = kept[i, at:-1].copy()
                kept[i, at] = new


def most_active(
    loaded: LoadedModel,
    bank: FeatureBank,
    texts: Sequence[Text],
    top: int,
    *,
    slots: int | None = None,
    pressure: Pressure | None = None,
) -> tuple[list[list[tuple[float, Text, int]]], int]:
    """The most active places of every feature of a bank.

    Args:
        slots, pressure: As of `Passes`; they change no result.

    Returns:
        For each feature (activation, text, position), the most active first; and how many tokens
        were looked at.

    Raises:
        OutOfMemory: The device has no room; fewer layers at once may do.
    """
    ordered = sorted(texts)
    best = _Best(len(bank), top)
    passes = Passes(loaded, bank, slots=slots, pressure=pressure)
    read, before = 0, tuple[int, ...]()
    for number, text in enumerate(ordered):
        new = max(1, _shared(text.tokens, before))
        before = text.tokens
        if new >= len(text.tokens):
            continue
        read += len(text.tokens) - new
        passes.give_way()
        best.add(*_largest(passes, text.tokens, new, len(bank)), number)
    found = [
        [
            (float(value), ordered[text], int(position))
            for value, text, position in zip(*line, strict=True)
            if value > 0
        ]
        for line in zip(best.values, best.text, best.position, strict=True)
    ]
    return found, read


@torch.inference_mode()
def _largest(
    passes: Passes, tokens: Sequence[int], new: int, features: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The largest activation of every feature from token `new` on, and where."""
    largest, place = np.zeros(features, np.float32), np.zeros(features, np.int64)
    try:
        for rows, bank, states in passes.read(tokens):
            activation, at = activations(bank, states[new:]).max(dim=0)
            largest[rows] = activation.cpu().numpy()
            place[rows] = at.cpu().numpy() + new
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"the device ran out of memory with {passes.slots} layers at once: {error}",
            where=str(passes.loaded.device),
            next="the same texts may fit with fewer layers at once.",
        ) from error
    return largest, place


def activations(bank: FeatureBank, x: torch.Tensor) -> torch.Tensor:
    """Activations [tokens, n] of n features of one layer, by `FeatureBank.activation`'s formula."""
    v = x @ bank.enc.T + bank.shift
    return torch.relu(bank.scale * v + bank.bias) * (v > bank.threshold)


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens with which both begin."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
