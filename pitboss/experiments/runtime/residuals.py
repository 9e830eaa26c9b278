"""The residual streams of a text, as many layers in a pass as memory allows.

A text runs alone through the model, without padding, and of the blocks only those of this pass are
kept. Where memory is short the same text runs again for the next layers: the states are the same
bits whichever layers share a pass. Between two texts others may have the memory, as between two
steps of an engine (`pitboss.engine.pressure`); what is a row there is a layer here.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pitboss.engine.pressure import (
    Pressure,
    finish,
    model_to_device,
    model_to_host,
    release,
    resize,
)
from pitboss.floor.memory.guard import Footprint
from pitboss.models.hooks import block_outputs
from pitboss.models.loading import LoadedModel
from pitboss.saes.bank import FeatureBank


class Read(NamedTuple):
    """One layer of a text: its features' places in the bank, they themselves, and the states."""

    rows: NDArray[np.int64]
    bank: FeatureBank
    states: torch.Tensor  # float32 [tokens, d_model]


class Passes:
    """Reads texts at the layers of a bank's features.

    Args:
        bank: On the host.
        slots: Layers whose states are there at once (default: all). Does not change results.
        pressure: Asked before every text how many of them there may be.

    Attributes:
        slots: Layers of a pass now; none while the model is away from the device.
        most: Layers of a pass that this was made for.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        bank: FeatureBank,
        *,
        slots: int | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        self.loaded, self.pressure = loaded, pressure
        self._rows = {n: (bank.layer == n).nonzero()[:, 0] for n in layers_of(bank)}
        self._host = {layer: bank.rows(rows) for layer, rows in self._rows.items()}
        self.most = min(slots or len(self._rows), len(self._rows))
        self.build(self.most)

    def build(self, slots: int) -> None:
        """Have the model and the features on the device, and read so many layers at once.

        Raises:
            torch.OutOfMemoryError: They do not fit.
        """
        device = self.loaded.device
        model_to_device(self.loaded.model, device)
        self._here = {layer: bank.to(device) for layer, bank in self._host.items()}
        self.slots = slots

    def drop(self) -> None:
        """Free everything but the weights."""
        finish(self.loaded.device)
        self.slots, self._here = 0, {}
        release(self.loaded.device)

    def leave(self) -> None:
        """Move the weights to the host's memory; `drop` goes before."""
        model_to_host(self.loaded.model, self.loaded.device)

    def give_way(self) -> None:
        """Between two texts: give up or take back memory, or wait, as the pressure wants it."""
        if self.pressure is None or not self.most:
            return
        allowed = min(self.pressure(self.slots), self.most)
        if allowed != self.slots:
            resize(self, allowed, self.pressure)

    def read(self, tokens: Sequence[int]) -> Iterator[Read]:
        """The layers' states of one text, in ascending order."""
        layers = list(self._rows)
        for start in range(0, len(layers), max(1, self.slots)):
            found = residuals(self.loaded, tokens, layers[start : start + self.slots])
            for layer in list(found):
                yield Read(self._rows[layer].numpy(), self._here[layer], found.pop(layer))


def layers_of(bank: FeatureBank) -> list[int]:
    """The layers that a bank has features of, ascending."""
    return sorted(set(bank.layer.tolist()))


@torch.inference_mode()
def residuals(
    loaded: LoadedModel, tokens: Sequence[int], layers: Collection[int]
) -> dict[int, torch.Tensor]:
    """Residual streams of one text alone after each layer's block, float32 [tokens, d_model]."""
    decoder: Any = loaded.model.model
    ids = torch.tensor([list(tokens)], device=loaded.device)
    with block_outputs(loaded, layers) as outputs:
        decoder(input_ids=ids, use_cache=False)
    return {layer: outputs[layer][0].float() for layer in layers}


def footprint(loaded: LoadedModel, bank: FeatureBank, longest: int) -> Footprint:
    """Bytes of reading texts of at most so many tokens; a slot is a layer of a pass.

    A pass holds its layers' states in the model's dtype and in float32; what a block needs
    meanwhile is counted as in `pitboss.engine.memory`, with attention's scores written out.
    """
    spec, config, size = loaded.spec, loaded.model.config, loaded.dtype.itemsize
    block = longest * size * (3 * config.intermediate_size + 8 * spec.d_model)
    scores = 2 * config.num_attention_heads * longest**2 * torch.float32.itemsize
    features = 2 * len(bank) * spec.d_model * torch.float32.itemsize
    return Footprint(
        base=spec.n_params * size + features + block + scores,
        slot=longest * spec.d_model * (size + torch.float32.itemsize),
    )
