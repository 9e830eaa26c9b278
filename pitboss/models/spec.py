"""What the catalogue says of one model, and of one release of SAEs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pitboss.errors import BadInput

Family = Literal["llama", "gemma2"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One language model.

    Attributes:
        id: Hub id, or `pitboss/lab-...` for the shipped models.
        revision: Commit of the hub repository that is loaded; None for shipped models.
        family: Which decoder block layout the model has.
        n_layers: Number of decoder blocks.
        d_model: Width of the residual stream.
        n_params: Number of parameters, tied weights counted once.
        n_kv_heads: Key/value heads of a block.
        head_dim: Width of one head.
        vocab_size: Rows of the unembedding.
        sliding_window: Width of the local attention of every second block, if there is one.
        chat_template: Whether prompts go through the tokenizer's chat template.
        dtype: Number format of the loaded weights unless a study says otherwise.
        max_positions: Longest text, in tokens.
        warnings: What a reader of the results has to know.
        local: Folder of a shipped model.
    """

    id: str
    revision: str | None
    family: Family
    n_layers: int
    d_model: int
    n_params: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    sliding_window: int | None
    chat_template: bool
    dtype: str
    max_positions: int
    warnings: tuple[str, ...] = ()
    local: Path | None = None


@dataclass(frozen=True, slots=True)
class SaeRelease:
    """One release of sparse autoencoders on the residual stream, one SAE per layer.

    Attributes:
        id: Name used in study files.
        release: Release name in sae-lens' registry; None for SAEs stored in sae-lens' own layout.
        sae_id: Pattern of the id of one SAE, with `{layer}`.
        kind: Architecture, as sae-lens calls it.
        d_model: Width of the residual stream it reads.
        d_sae: Number of features per layer.
        layers: Layers that have an SAE.
        trained_on: Id of the model whose activations it was trained on.
        local: Folder of the files (`release` None), or a hub cache to read offline.
    """

    id: str
    release: str | None
    sae_id: str
    kind: str
    d_model: int
    d_sae: int
    layers: tuple[int, ...]
    trained_on: str
    local: Path | None = None

    def sae_id_of(self, layer: int) -> str:
        """The id of one layer's SAE; raises BadInput for a layer without one."""
        if layer not in self.layers:
            raise BadInput(
                f"SAE release {self.id} has no SAE for layer {layer}.",
                where=f"layers with an SAE: {ranges(self.layers)}",
                next="Choose other layers in the study file, or another SAE release.",
            )
        return self.sae_id.format(layer=layer)


def ranges(layers: tuple[int, ...]) -> str:
    """Layers for people: `(0, 1, 2, 9)` -> `0-2, 9`."""
    spans: list[list[int]] = []
    for layer in sorted(layers):
        if spans and spans[-1][1] == layer - 1:
            spans[-1][1] = layer
        else:
            spans.append([layer, layer])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
