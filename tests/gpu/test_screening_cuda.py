"""Screening on the GPU: the plain path's decisions, also where a layer takes many batches."""

import numpy as np
import pytest
import torch

from pitboss.engine.screening import Screen
from tests.engine.exact import in_float64, log_p
from tests.gpu.small import FAMILIES, small

CHOICES = {"bet": [11, 12], "stop": [13]}
FEATURES = 300
# How far from float64 a log-probability may be that is computed in float32 throughout: eight units
# in the last place of a logit near Gemma's cap of 30. For the Gemma 2 of these tests an H200 is
# 3.1e-6 off on the fast path and 3.6e-6 on the plain one (root of the mean square), and 1.3e-5 at
# most (of 11,520, down to log p = -17); a CPU 1.4e-6 to 2.2e-6, as transformers' own float32 is.
OFF = 8 * 2.0**-19


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
        # Both are off. A relative bound on logarithms would have no meaning near p = 1.
        assert np.abs(ours.decisions.log_p - theirs.decisions.log_p).max() < 2 * OFF
        again = fast.run(layer, dec, change).decisions
        assert (again.log_mass == ours.decisions.log_mass).all()
    if mass:
        expected = torch.stack([loaded.model(torch.tensor([t], device="cuda")).logits[0, -1]
                                for t in texts]).double().log_softmax(-1).cpu()  # fmt: skip
        stop = fast.unpatched.log_p[:, fast.choices.index("stop")]
        assert np.abs(stop / expected[:, 13].numpy() - 1).max() < 1e-5


def test_the_fast_path_is_as_near_to_float64_as_the_plain_path_where_soft_caps_bite() -> None:
    loaded = small("gemma2")
    texts = prompts(loaded.model.config.vocab_size)
    dec, change = patches(256)
    dec, change = dec[:60], change[..., :60].clone()
    fast, plain = (
        Screen(loaded, width=64, prompts=texts, choices=CHOICES, fast=which)
        for which in (True, False)
    )
    squares = []
    for layer in range(4):
        with in_float64(loaded.model) as exact:
            expected = log_p(exact, texts, CHOICES, layer, dec, change).numpy()
        off = [
            screen.run(layer, dec, change).decisions.log_p - expected for screen in (fast, plain)
        ]
        assert np.abs(off).max() < OFF
        squares.append(np.square(off).reshape(2, -1).mean(1))
    root = np.sqrt(np.mean(squares, axis=0))
    print(f"off float64 (root of the mean square): fast {root[0]:.2e}, plain {root[1]:.2e}")
    # 1.5 times as far when the kernels' tanh has the absolute error of numbers near 1.
    assert root[0] < 1.25 * root[1]


def test_a_rows_bits_do_not_depend_on_its_batch_in_bfloat16() -> None:
    loaded = small("llama", torch.bfloat16)
    texts = prompts(loaded.model.config.vocab_size)
    dec, change = patches(256)
    screen = Screen(loaded, width=64, prompts=texts, choices=CHOICES)
    together = screen.run(1, dec, change).decisions.log_mass
    for some in (slice(7, 8), slice(100, 190)):
        alone = screen.run(1, dec[some], change[..., some]).decisions.log_mass
        assert (alone == together[:, :, some]).all()
