"""A whole SAE with random weights, for the original's algorithm and the reconstruct mode."""

import torch

from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer

# Features of an SAE at each shape: Llama Scope's for models of real size, the shipped ones' else.
REAL, LAB = 32_768, 256


def random_sae(loaded: LoadedModel, layer: int, features: int | None = None) -> SaeLayer:
    """A standard SAE under the relu gate with random weights, float32.

    With encoder columns e ~ N(0, I/d), the mean of Σ relu(x·e)·e over f of them is f/2d · x; the
    decoder is the encoder transposed, times 2d/f, so a reconstruction has about x's size and
    direction.
    """
    d = loaded.spec.d_model
    f = features or (REAL if d > 1000 else LAB)
    generator = torch.Generator(loaded.device).manual_seed(3 + layer)
    W_enc = torch.randn(d, f, generator=generator, device=loaded.device) / d**0.5
    zero, one = torch.zeros(f, device=loaded.device), torch.ones(f, device=loaded.device)
    return SaeLayer(
        layer=layer,
        kind="standard",
        gate="relu",
        W_enc=W_enc,
        W_dec=W_enc.T.contiguous() * (2 * d / f),
        b_dec=torch.zeros(d, device=loaded.device),
        shift=zero,
        scale=one,
        bias=zero,
        threshold=zero,
        source={"release": "random"},
    )
