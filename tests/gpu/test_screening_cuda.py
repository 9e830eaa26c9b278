"""Screening on the GPU: the plain path's decisions, also where a layer takes many batches."""

import numpy as np
import pytest
import torch

from pitboss.engine.screening import Screen
from tests.gpu.small import FAMILIES, small

CHOICES = {"bet": [11, 12], "stop": [13]}
FEATURES = 300


def prompts(vocab: int, lengths: tuple[int, ...] = (60, 100, 31)) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(5)
    return [tuple(torch.randint(3, vocab, (n,), generator=generator).tolist()) for n in lengths]


def patches(d_model: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator(device="cuda").manual_seed(6)
    dec = torch.randn(FEATURES, d_model, generator=generator, device="cuda")
    change = torch.randn(3, 2, FEATURES, generator=generator, device="cuda")
    change[:, 1, ::3] = 0
    return dec, change


@pytest.mark.parametrize("mass", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_fast_path_decides_as_the_plain_path_and_as_transformers(
    family: str, mass: bool
) -> None:
    """64 rows at a time: 24 batches a layer, of which two hold rows of two prompts."""
    loaded = small(family)
    texts = prompts(loaded.model.config.vocab_size)
    dec, change = patches(256)
    fast, plain = (
        Screen(loaded, width=64, prompts=texts, choices=CHOICES, mass=mass, fast=which)
        for which in (True, False)
    )
    for layer in range(4):
        ours, theirs = (screen.run(layer, dec, change) for screen in (fast, plain))
        assert (ours.unchanged == theirs.unchanged).all() and ours.unchanged.sum() == 300
        # Probabilities to 1e-5; a relative bound on their logarithms would have none near p = 1.
        assert np.abs(ours.decisions.log_p - theirs.decisions.log_p).max() < 1e-5
        again = fast.run(layer, dec, change).decisions
        assert (again.log_mass == ours.decisions.log_mass).all()
    if mass:
        expected = torch.stack([loaded.model(torch.tensor([t], device="cuda")).logits[0, -1]
                                for t in texts]).double().log_softmax(-1).cpu()  # fmt: skip
        stop = fast.unpatched.log_p[:, fast.choices.index("stop")]
        assert np.abs(stop / expected[:, 13].numpy() - 1).max() < 1e-5


def test_a_rows_bits_do_not_depend_on_its_batch_in_bfloat16() -> None:
    loaded = small("llama", torch.bfloat16)
    texts = prompts(loaded.model.config.vocab_size)
    dec, change = patches(256)
    screen = Screen(loaded, width=64, prompts=texts, choices=CHOICES)
    together = screen.run(1, dec, change).decisions.log_mass
    for some in (slice(7, 8), slice(100, 190)):
        alone = screen.run(1, dec[some], change[..., some]).decisions.log_mass
        assert (alone == together[:, :, some]).all()
