"""Patched requests against sae-lens and transformers: whole-SAE hooks, no cache, every position."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pitboss.engine import Engine, EngineConfig, Generation, Patch, Request, Sampling
from pitboss.errors import BadInput
from pitboss.models.loading import LoadedModel
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer, as_layer

D, F = 64, 48
LAYERS = (0, 1, 3)
Prompts = list[tuple[int, ...]]


def _random_sae(kind: str, layer: int) -> Any:
    from sae_lens.saes import (
        GatedSAE,
        GatedSAEConfig,
        JumpReLUSAE,
        JumpReLUSAEConfig,
        StandardSAE,
        StandardSAEConfig,
    )

    classes: dict[str, tuple[Any, Any]] = {
        "standard": (StandardSAE, StandardSAEConfig),
        "jumprelu": (JumpReLUSAE, JumpReLUSAEConfig),
        "gated": (GatedSAE, GatedSAEConfig),
    }
    sae_class, config = classes[kind]
    sae = sae_class(config(d_in=D, d_sae=F, apply_b_dec_to_input=kind != "jumprelu"))
    generator = torch.Generator().manual_seed(layer)
    with torch.no_grad():
        for name, parameter in sae.named_parameters():
            spread = 0.5 if name in ("W_enc", "W_dec") else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
            if name == "threshold":
                parameter.abs_()
    return sae.requires_grad_(False)


@pytest.fixture(scope="module", params=["standard", "jumprelu", "gated"])
def saes(request: pytest.FixtureRequest) -> dict[int, tuple[Any, SaeLayer]]:
    made = {layer: _random_sae(request.param, layer) for layer in LAYERS}
    return {
        layer: (sae, as_layer(sae, layer=layer, gate="sae_lens", norm_factor=None, source={}))
        for layer, sae in made.items()
    }


def patch_of(sae: SaeLayer, feature: int, value: float | None, **settings: Any) -> Patch:
    bank = FeatureBank.build([sae], {sae.layer: [feature]})
    return Patch(
        layer=sae.layer,
        feature=feature,
        enc=bank.enc[0],
        shift=float(bank.shift[0]),
        scale=float(bank.scale[0]),
        bias=float(bank.bias[0]),
        threshold=float(bank.threshold[0]),
        dec=bank.dec[0],
        value=value,
        **settings,
    )


def reference_logits(
    loaded: LoadedModel, prompt: tuple[int, ...], tokens: tuple[int, ...], sae: Any, patch: Patch
) -> torch.Tensor:
    """Uncached forward over the whole text; the SAE encodes, one feature is set, it decodes."""
    last = len(prompt) - 1

    def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
        end = None if patch.positions == "prompt_last_and_generated" else last + 1
        x = output[0, last:end]
        activations = sae.encode(x)
        error = x - sae.decode(activations)
        if patch.mode != "reconstruct_only" and patch.value is not None:
            activations = activations.clone()
            activations[:, patch.feature] = patch.value
        output = output.clone()
        output[0, last:end] = sae.decode(activations) + (error if patch.mode == "delta" else 0)
        return output

    handle = loaded.model.model.layers[patch.layer].register_forward_hook(hook)
    try:
        logits: torch.Tensor = loaded.model(torch.tensor([prompt + tokens])).logits
        return logits[0, last:]
    finally:
        handle.remove()


def run(
    loaded: LoadedModel,
    requests: list[Request],
    saes: dict[int, tuple[Any, SaeLayer]],
    **settings: Any,
) -> dict[str, Generation]:
    config = EngineConfig(
        width=16, prompt_capacity=128, token_capacity=16, keep_logits=True, **settings
    )
    made = Engine(loaded, config, seed=1, saes={layer: pair[1] for layer, pair in saes.items()})
    return {g.key: g for g in made.run(requests)}


@pytest.mark.parametrize("positions", ["prompt_last", "prompt_last_and_generated"])
@pytest.mark.parametrize("mode", ["delta", "reconstruct", "reconstruct_only"])
def test_patched_logits_and_greedy_texts_equal_the_uncached_whole_sae_computation(
    loaded: LoadedModel,
    prompts: Prompts,
    saes: dict[int, tuple[Any, SaeLayer]],
    mode: str,
    positions: str,
) -> None:
    sampling = Sampling(temperature=0, max_new_tokens=10)
    patches = {
        f"{i}": patch_of(saes[layer][1], 5 * i + 1, value, mode=mode, positions=positions)
        for i, (layer, value) in enumerate([(0, 4.0), (1, 0.0), (3, -3.0), (1, 6.0), (0, 1.0)])
    }
    requests = [
        Request(key, prompts[i % len(prompts)], key, sampling, (patch,))
        for i, (key, patch) in enumerate(patches.items())
    ]
    together = run(loaded, requests, saes, prefixes=3)
    for request in requests:
        patch, g = patches[request.key], together[request.key]
        expected = reference_logits(loaded, request.prompt, g.tokens, saes[patch.layer][0], patch)
        assert g.logits is not None
        expected = expected[: len(g.logits)]
        assert float((g.logits - expected).abs().max() / expected.abs().max()) < 1e-5
        greedy = expected.argmax(-1).tolist()
        assert greedy[: len(g.tokens)] == list(g.tokens)
        alone = run(loaded, [request], saes, prefixes=3)[request.key]
        assert alone.tokens == g.tokens
        assert alone.logits is not None and torch.equal(alone.logits, g.logits)


def test_a_patch_changes_something_and_the_two_position_rules_differ(
    loaded: LoadedModel, prompts: Prompts, saes: dict[int, tuple[Any, SaeLayer]]
) -> None:
    s = Sampling(temperature=0, max_new_tokens=10)
    at = {
        p: patch_of(saes[1][1], 3, 9.0, positions=p)
        for p in ("prompt_last", "prompt_last_and_generated")
    }
    requests = [Request(p, prompts[0], "x", s, (patch,)) for p, patch in at.items()]
    out = run(loaded, [Request("none", prompts[0], "x", s), *requests], saes)
    none, last, every = (out[k].logits for k in ("none", *at))
    assert none is not None and last is not None and every is not None
    assert torch.equal(last[0], every[0]) and not torch.equal(last[0], none[0])
    assert not torch.equal(last[1], every[1])


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_patch_to_the_features_own_value_changes_no_bit(
    loaded: LoadedModel, prompts: Prompts, saes: dict[int, tuple[Any, SaeLayer]], temperature: float
) -> None:
    s = Sampling(temperature=temperature, max_new_tokens=12)
    requests = [Request(f"none {i}", prompts[i % 4], f"{i}", s) for i in range(12)]
    requests += [
        Request(f"own {i}", prompts[i % 4], f"{i}", s, (patch_of(saes[LAYERS[i % 3]][1], i, None),))
        for i in range(12)
    ]
    out = run(loaded, requests, saes, prefixes=4)
    for i in range(12):
        plain, own = out[f"none {i}"], out[f"own {i}"]
        assert plain.tokens == own.tokens
        assert plain.logits is not None and own.logits is not None
        assert torch.equal(plain.logits, own.logits)


def test_several_patches_of_a_request_add_up(
    loaded: LoadedModel, prompts: Prompts, saes: dict[int, tuple[Any, SaeLayer]]
) -> None:
    s = Sampling(temperature=0, max_new_tokens=1)
    patches = (patch_of(saes[0][1], 2, 3.0), patch_of(saes[3][1], 7, 5.0))
    out = run(loaded, [Request("both", prompts[0], "x", s, patches)], saes, patch_slots=2)
    handles = []

    def hook(patch: Patch) -> Callable[..., torch.Tensor]:
        def change(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
            sae = saes[patch.layer][0]
            output = output.clone()
            a = sae.encode(output[0, -1:])[0, patch.feature]
            output[0, -1] += (patch.value - a) * sae.W_dec[patch.feature]
            return output

        return change

    for patch in patches:
        handles.append(loaded.model.model.layers[patch.layer].register_forward_hook(hook(patch)))
    try:
        expected = loaded.model(torch.tensor([prompts[0]])).logits[0, -1:]
    finally:
        for handle in handles:
            handle.remove()
    logits = out["both"].logits
    assert logits is not None
    assert float((logits - expected).abs().max() / expected.abs().max()) < 1e-5


def test_patches_the_model_cannot_take_are_refused(
    loaded: LoadedModel, prompts: Prompts, saes: dict[int, tuple[Any, SaeLayer]]
) -> None:
    good = patch_of(saes[0][1], 0, 1.0)
    settings = {name: getattr(good, name) for name in good.__slots__}
    bad = {
        "does not exist": {"layer": 4},
        "shape": {"dec": torch.zeros(D + 1)},
        "whole SAE": {"layer": 2, "mode": "reconstruct"},
    }
    for message, change in bad.items():
        request = Request(
            "r", prompts[0], "x", Sampling(max_new_tokens=2), (Patch(**(settings | change)),)
        )
        with pytest.raises(BadInput, match=message):
            run(loaded, [request], saes)
