"""Screened decisions against transformers and sae-lens: the whole prompt, a hook, no cache."""

from typing import Any

import numpy as np
import pytest
import torch

from pitboss.engine.screening import Screen
from pitboss.engine.stack import Stack
from pitboss.errors import BadInput, PitbossError
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import as_layer
from tests.engine.exact import in_float64, log_p
from tests.engine.families import D_MODEL, VOCAB, random_model
from tests.engine.test_patches import _random_sae

Prompts = list[tuple[int, ...]]
CHOICES = {"bet": [5, 9], "stop": [7]}
BLOCKS, FEATURES = 4, 7


def made(loaded: LoadedModel, prompts: Prompts, /, **settings: Any) -> Screen:
    return Screen(loaded, **{"width": 16, "prompts": prompts, "choices": CHOICES, **settings})


def reference(
    loaded: LoadedModel, prompt: tuple[int, ...], layer: int = 0, edit: Any = None
) -> np.ndarray:
    """Log-probability of each choice; `edit` maps the last token's residual stream to another."""

    def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[0, -1] = edit(output[0, -1])
        return output

    handle = loaded.model.model.layers[layer].register_forward_hook(hook) if edit else None
    try:
        log_p = loaded.model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
    finally:
        if handle is not None:
            handle.remove()
    return np.array([float(log_p[tokens].logsumexp(0)) for tokens in CHOICES.values()])


@pytest.fixture(scope="module")
def patches() -> tuple[torch.Tensor, torch.Tensor]:
    """Decoder rows and changes of six prompts under two values; some changes are exactly 0."""
    generator = torch.Generator().manual_seed(2)
    dec = torch.randn(FEATURES, D_MODEL, generator=generator)
    change = torch.randn(6, 2, FEATURES, generator=generator)
    change[:, :, 3] = 0
    change[2, 1, 5] = 0
    return dec, change


def test_decisions_equal_transformers_with_a_hook(
    loaded: LoadedModel, prompts: Prompts, patches: tuple[torch.Tensor, torch.Tensor]
) -> None:
    dec, change = patches
    screen = made(loaded, prompts)
    expected = np.stack([reference(loaded, prompt) for prompt in prompts])
    assert np.abs(screen.unpatched.log_p / expected - 1).max() < 1e-5
    for layer in range(BLOCKS):
        found = screen.run(layer, dec, change).decisions
        expected = np.zeros((6, 2, FEATURES, 2))
        for i, v, f in np.ndindex(6, 2, FEATURES):
            step = change[i, v, f] * dec[f]
            expected[i, v, f] = reference(loaded, prompts[i], layer, lambda x, s=step: x + s)
        assert np.abs(found.log_p / expected - 1).max() < 1e-5
        assert np.abs(found.log_odds("stop", "bet") - np.subtract(*expected.T[::-1]).T).max() < 1e-4
        assert found.decided is not None
        assert np.allclose(found.decided, np.exp(expected).sum(-1), rtol=1e-5)


def test_gemma_2_is_as_near_to_float64_as_transformers_in_float32_is(prompts: Prompts) -> None:
    """Where soft caps bite. Two ways in float32 may differ by what both are off, not by less."""
    loaded, prompts, features = random_model("gemma2"), prompts[:4], 16
    generator = torch.Generator().manual_seed(2)
    dec = torch.randn(features, D_MODEL, generator=generator)
    change = torch.randn(len(prompts), 2, features, generator=generator)
    screens = [made(loaded, prompts, fast=fast) for fast in (None, False)]
    for layer in range(BLOCKS):
        with in_float64(loaded.model) as exact:
            expected = log_p(exact, prompts, CHOICES, layer, dec, change)
        theirs = log_p(loaded.model, prompts, CHOICES, layer, dec, change) - expected
        for screen in screens:
            ours = torch.from_numpy(screen.run(layer, dec, change).decisions.log_p) - expected
            assert 0 < ours.square().mean() < (1.7 * theirs).square().mean()
            assert ours.abs().max() < 5e-6


@pytest.mark.parametrize("kind", ["standard", "jumprelu", "gated"])
def test_setting_a_feature_equals_the_whole_sae(
    loaded: LoadedModel, prompts: Prompts, kind: str
) -> None:
    prompts, layer = prompts[:2], 1
    sae = _random_sae(kind, layer)
    ours = as_layer(sae, layer=layer, gate="sae_lens", norm_factor=None, source={})
    screen = made(loaded, prompts)
    count = ours.W_dec.shape[0]
    values = torch.stack([torch.zeros(count), torch.full((count,), 0.7)])
    found = screen.run(layer, ours.W_dec, screen.change(ours, values))

    def set_feature(x: torch.Tensor, feature: int, value: float) -> torch.Tensor:
        activations = sae.encode(x[None])
        error = x - sae.decode(activations)[0]
        activations[:, feature] = value
        return sae.decode(activations)[0] + error

    for i, v, f in np.ndindex(2, 2, count):
        expected = reference(
            loaded, prompts[i], layer, lambda x, f=f, v=v: set_feature(x, f, float(values[v, f]))
        )
        assert np.abs(found.decisions.log_p[i, v, f] / expected - 1).max() < 1e-5
    # What does not fire and is set to 0 is not computed.
    fires = np.stack([sae.encode(screen.clean(layer))[i].numpy() > 0 for i in range(2)])
    assert 0 < fires.sum() < fires.size
    assert (found.unchanged[:, 0] == ~fires).all() and not found.unchanged[:, 1].any()


def test_a_patch_that_changes_nothing_is_the_unpatched_decision_and_costs_nothing(
    loaded: LoadedModel,
    prompts: Prompts,
    patches: tuple[torch.Tensor, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dec, change = patches
    screen = made(loaded, prompts)
    found = screen.run(1, dec, change)
    assert found.unchanged.sum() == 13 and (found.unchanged == (change == 0).numpy()).all()
    for i, v, f in zip(*np.nonzero(found.unchanged), strict=True):
        assert (found.decisions.log_mass[i, v, f] == screen.unpatched.log_mass[i]).all()
        assert found.decisions.log_total is not None and screen.unpatched.log_total is not None
        assert found.decisions.log_total[i, v, f] == screen.unpatched.log_total[i]
    monkeypatch.setattr(Stack, "block", None)
    nothing = screen.run(1, dec, torch.zeros_like(change))
    assert nothing.unchanged.all()
    assert (nothing.decisions.log_p == screen.unpatched.log_p[:, None, None]).all()


def test_a_row_is_the_same_in_any_company_and_without_the_rest_of_the_vocabulary(
    loaded: LoadedModel, prompts: Prompts, patches: tuple[torch.Tensor, torch.Tensor]
) -> None:
    dec, change = patches
    together = made(loaded, prompts).run(1, dec, change).decisions
    few = made(loaded, prompts, mass=False)
    for feature in range(FEATURES):
        alone = few.run(1, dec[feature:][:1], change[:, :, feature:][..., :1]).decisions
        assert (alone.log_mass[:, :, 0] == together.log_mass[:, :, feature]).all()
        assert alone.log_total is None and alone.decided is None
        assert np.allclose(np.exp(alone.log_p).sum(-1), 1)
    wide = made(loaded, prompts, width=64).run(1, dec, change).decisions
    assert np.abs(wide.log_p / together.log_p - 1).max() < 1e-5
    backwards = made(loaded, prompts[::-1]).run(1, dec, change.flip(0)).decisions
    assert np.abs(backwards.log_p[::-1] / together.log_p - 1).max() < 1e-5


def test_more_prompts_than_rows_are_screened_in_several_batches(
    loaded: LoadedModel, prompts: Prompts, patches: tuple[torch.Tensor, torch.Tensor]
) -> None:
    dec, change = patches
    narrow, wide = made(loaded, prompts, width=4), made(loaded, prompts)
    assert np.allclose(narrow.unpatched.log_p, wide.unpatched.log_p, rtol=1e-5)
    a, b = (screen.run(0, dec, change).decisions.log_p for screen in (narrow, wide))
    assert np.allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"width": 0}, "width of 1 or more"),
        ({"prompts": []}, "at least one prompt"),
        ({"prompts": [()]}, "at least one token"),
        ({"choices": {"stop": [7]}}, "two choices or more"),
        ({"choices": {"stop": [7], "bet": []}}, "each with tokens"),
        ({"choices": {"stop": [7], "bet": [7]}}, "must differ"),
        ({"choices": {"stop": [7], "bet": [VOCAB]}}, "below the vocabulary"),
        ({"fast": True}, "CUDA"),
    ],
)
def test_impossible_settings_are_refused(
    loaded: LoadedModel, prompts: Prompts, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        made(loaded, prompts, **settings)


def test_impossible_patches_are_refused(loaded: LoadedModel, prompts: Prompts) -> None:
    screen = made(loaded, prompts)
    dec, change = torch.zeros(3, D_MODEL), torch.zeros(6, 2, 3)
    for layer, rows, changes, says in (
        (4, dec, change, "layer 4 does not exist"),
        (-1, dec, change, "layer -1"),
        (0, dec[:, 1:], change, "decoder rows must be"),
        (0, dec, change[:5], "changes must be"),
        (0, dec, change[..., :2], "changes must be"),
    ):
        with pytest.raises(BadInput, match=says):
            screen.run(layer, rows, changes)


def test_a_width_that_does_not_fit_is_said_once_and_not_tried_again(
    loaded: LoadedModel, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    screen = made(loaded, prompts)
    monkeypatch.setattr(Stack, "block", full)
    with pytest.raises(PitbossError, match="smaller screening.width") as refused:
        screen.run(0, torch.ones(1, D_MODEL), torch.ones(6, 1, 1))
    assert type(refused.value) is PitbossError
