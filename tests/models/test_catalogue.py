"""The catalogue: known facts, unknown ids, pairs of model and SAE."""

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig

from pitboss.errors import BadInput, Mismatch
from pitboss.models.catalogue import (
    MODELS,
    SAE_RELEASES,
    model_spec,
    pairing_warnings,
    sae_release,
)

# The published config.json of the real models, as far as it decides the parameter count.
_PUBLISHED = {
    "meta-llama/Llama-3.1-8B": LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        num_hidden_layers=32,
        intermediate_size=14_336,
        num_attention_heads=32,
        num_key_value_heads=8,
    ),
    "google/gemma-2-9b-it": Gemma2Config(
        vocab_size=256_000,
        hidden_size=3584,
        num_hidden_layers=42,
        intermediate_size=14_336,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=256,
    ),
}


@pytest.mark.parametrize("model_id", sorted(_PUBLISHED))
def test_the_catalogue_states_the_published_architecture(model_id):
    config, spec = _PUBLISHED[model_id], model_spec(model_id)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(p.numel() for p in model.parameters()) == spec.n_params
    assert (config.num_hidden_layers, config.hidden_size) == (spec.n_layers, spec.d_model)
    assert (config.num_key_value_heads, config.head_dim) == (spec.n_kv_heads, spec.head_dim)


def test_unknown_ids_are_answered_with_the_known_ones():
    with pytest.raises(BadInput, match="google/gemma-2-9b-it"):
        model_spec("google/gemma-2-9b-typo")
    with pytest.raises(BadInput, match="llama-scope-lxr-8x"):
        sae_release("llama-scope")


def test_a_layer_without_an_sae_is_refused_by_name():
    release = sae_release("gemma-scope-9b-it-res-canonical-131k")
    assert release.sae_id_of(20) == "layer_20/width_131k/canonical"
    with pytest.raises(BadInput, match=r"layer 10.*9, 20, 31"):
        release.sae_id_of(10)


def test_perfect_pairs_bring_no_warning():
    for release in SAE_RELEASES.values():
        trained_on = MODELS[release.trained_on]
        if release.layers == tuple(range(trained_on.n_layers)):
            assert pairing_warnings(trained_on.id, release.id) == []


def test_imperfect_pairs_say_why():
    (base_on_instruct,) = pairing_warnings("meta-llama/Llama-3.1-8B-Instruct", "llama-scope-lxr-8x")
    assert "was trained on meta-llama/Llama-3.1-8B," in base_on_instruct
    (few_layers,) = pairing_warnings("google/gemma-2-9b-it", "gemma-scope-9b-it-res-canonical-131k")
    assert "9, 20, 31" in few_layers


def test_an_sae_of_another_width_is_refused_with_those_that_fit():
    with pytest.raises(Mismatch, match=r"4096.*3584.*gemma-scope-9b-pt"):
        pairing_warnings("google/gemma-2-9b-it", "llama-scope-lxr-8x")
