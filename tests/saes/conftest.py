"""Small SAEs of every class, made with sae-lens itself and filled with random numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

D_MODEL, FEATURES = 16, 40


@pytest.fixture(scope="session")
def make_sae() -> Callable[..., Any]:
    """kind, apply_b_dec_to_input, settings -> a sae-lens SAE with random parameters."""
    from sae_lens import SAE

    def make(kind: str, centred: bool, **settings: Any) -> Any:
        sae = SAE.from_dict(
            {
                "architecture": kind,
                "d_in": D_MODEL,
                "d_sae": FEATURES,
                "apply_b_dec_to_input": centred,
                **settings,
            }
        )
        rng = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for name, parameter in sae.named_parameters():
                values = torch.randn(parameter.shape, generator=rng)
                parameter.copy_(values.abs() if name == "threshold" else values)
        return sae

    return make


@pytest.fixture(scope="session")
def x() -> torch.Tensor:
    """[200, d_model] residual vectors."""
    return torch.randn(200, D_MODEL, generator=torch.Generator().manual_seed(6))
