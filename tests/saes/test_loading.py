"""One formula for every kind of SAE, the gates, and the production loader on the shipped files."""

import dataclasses
import json

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from pitboss.errors import BadInput, Mismatch
from pitboss.models.catalogue import LAB_DIR, SAE_RELEASES
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import as_layer, load_sae

KINDS = ["standard", "jumprelu", "gated"]
# Float32 sums in another order; random gated SAEs reach activations of a hundred.
CLOSE = {"rtol": 1e-5, "atol": 1e-4}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("centred", [True, False])
def test_the_formula_equals_sae_lens(kind, centred, make_sae, x):
    sae = make_sae(kind, centred)
    layer = as_layer(sae, layer=3, gate="sae_lens", norm_factor=None, source={})
    expected = sae.encode(x).detach()
    found = layer.encode(x)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert 0.1 < (found > 0).float().mean() < 0.9  # both sides of the gate were tested
    torch.testing.assert_close(layer.decode(found), sae.decode(expected).detach(), **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("centred", [True, False])
def test_one_feature_alone_equals_the_full_encoding(kind, centred, make_sae, x):
    sae = make_sae(kind, centred)
    layer = as_layer(sae, layer=3, gate="sae_lens", norm_factor=None, source={})
    bank = FeatureBank.build([layer], {3: [7, 0, 39]})
    full = sae.encode(x).detach()
    for row, feature in enumerate([7, 0, 39]):
        alone = bank.rows([row] * len(x)).activation(x)
        torch.testing.assert_close(alone, full[:, feature], **CLOSE)


def test_a_pre_activation_equal_to_the_threshold_does_not_fire(make_sae):
    sae = make_sae("jumprelu", False)
    with torch.no_grad():
        sae.W_enc.zero_()
        sae.b_enc.fill_(0.5)
        sae.threshold.fill_(0.5)
    layer = as_layer(sae, layer=0, gate="sae_lens", norm_factor=None, source={})
    assert layer.encode(torch.zeros(1, 16)).count_nonzero() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_relu_gate_drops_every_threshold(kind, make_sae, x):
    sae = make_sae(kind, True)
    layer = as_layer(sae, layer=0, gate="relu", norm_factor=None, source={})
    z = x - sae.b_dec.detach()
    if kind == "gated":
        expected = torch.relu(z @ (sae.W_enc * sae.r_mag.exp()) + sae.b_mag)
    else:
        expected = torch.relu(z @ sae.W_enc + sae.b_enc)
    torch.testing.assert_close(layer.encode(x), expected.detach(), **CLOSE)


@pytest.mark.parametrize("kind", ["standard", "gated"])
def test_the_authors_gate_exists_for_llama_scope_only(kind, make_sae):
    with pytest.raises(BadInput, match="Llama Scope"):
        as_layer(make_sae(kind, False), layer=0, gate="authors", norm_factor=None, source={})


def test_features_that_depend_on_all_others_are_refused(make_sae):
    with pytest.raises(BadInput, match="feature by feature"):
        as_layer(make_sae("topk", False, k=4), layer=0, gate="relu", norm_factor=None, source={})


@pytest.mark.parametrize("norm", ["layer_norm", "constant_norm_rescale"])
def test_normalisation_at_run_time_is_refused(norm, make_sae):
    sae = make_sae("standard", False, normalize_activations=norm)
    with pytest.raises(BadInput, match=norm):
        as_layer(sae, layer=0, gate="sae_lens", norm_factor=None, source={})


def _published(layer: int) -> tuple[dict[str, torch.Tensor], dict, float]:
    """The files as published: tensors, hyperparameters, input scale s."""
    (folder,) = LAB_DIR.glob(f"hub/models--*/snapshots/*/*L{layer}R-8x")
    hyperparams = json.loads((folder / "hyperparams.json").read_text())
    norm = hyperparams["dataset_average_activation_norm"]["in"]
    return (
        load_file(folder / "checkpoints" / "final.safetensors"),
        hyperparams,
        hyperparams["d_model"] ** 0.5 / norm,
    )


@pytest.fixture(scope="module")
def residual() -> torch.Tensor:
    """[n, 128] vectors of the size that layer 1 of the shipped model has."""
    sae = load_sae("pitboss/lab-llama-scope", 1, "sae_lens")
    codes = torch.rand(400, sae.W_dec.shape[0], generator=torch.Generator().manual_seed(1))
    return sae.decode(codes * (codes > 0.95) * 4 * sae.threshold)


def test_the_production_path_gives_the_published_weights():
    tensors, hyperparams, s = _published(1)
    sae = load_sae("pitboss/lab-llama-scope", 1, "sae_lens")
    torch.testing.assert_close(sae.W_enc, s * tensors["encoder.weight"].T)
    torch.testing.assert_close(sae.W_dec, tensors["decoder.weight"].T / s)
    torch.testing.assert_close(sae.b_dec, tensors["decoder.bias"] / s)
    torch.testing.assert_close(sae.shift, tensors["encoder.bias"])
    threshold = torch.full_like(sae.threshold, hyperparams["jump_relu_threshold"] * s)
    torch.testing.assert_close(sae.threshold, threshold)
    assert sae.source["hook_point"] == hyperparams["hook_point_in"]


def test_the_authors_gate_is_their_definition_in_published_terms(residual):
    """Threshold on the pre-activation rescaled to unit decoder norm, in raw residual scale."""
    tensors, hyperparams, s = _published(1)
    pre = s * residual @ tensors["encoder.weight"].T + tensors["encoder.bias"]
    unit = pre * torch.linalg.vector_norm(tensors["decoder.weight"], dim=0) / s
    margin = (unit - hyperparams["jump_relu_threshold"]).abs() > 1e-5
    expected = unit > hyperparams["jump_relu_threshold"]
    found = load_sae("pitboss/lab-llama-scope", 1, "authors").encode(residual) > 0
    assert torch.equal(found[margin], (expected & (pre > 0))[margin])


def test_the_three_gates_differ_in_what_fires_but_not_in_values(residual):
    acts = {
        gate: load_sae("pitboss/lab-llama-scope", 1, gate).encode(residual)
        for gate in ("relu", "sae_lens", "authors")
    }
    fired = {gate: int((a > 0).sum()) for gate, a in acts.items()}
    assert fired["relu"] > fired["sae_lens"] and fired["relu"] > fired["authors"]
    assert ((acts["sae_lens"] > 0) != (acts["authors"] > 0)).any()
    both = (acts["sae_lens"] > 0) & (acts["authors"] > 0)
    assert torch.equal(acts["sae_lens"][both], acts["authors"][both])


def test_gemmas_release_loads_from_sae_lens_own_layout():
    sae = load_sae("pitboss/lab-gemma-scope", 2, "sae_lens")
    stored = load_file(LAB_DIR / "saes" / "gemma" / "layer_2" / "sae_weights.safetensors")
    assert torch.equal(sae.W_enc, stored["W_enc"])
    assert torch.equal(sae.threshold, stored["threshold"])
    with pytest.raises(BadInput, match="Llama Scope"):
        load_sae("pitboss/lab-gemma-scope", 2, "authors")


def test_the_hub_client_is_left_as_it_was(monkeypatch, tmp_path):
    before = constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE
    load_sae("pitboss/lab-llama-scope", 0, "relu")
    assert before == (constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE)
    release = SAE_RELEASES["pitboss/lab-llama-scope"]
    emptied = dataclasses.replace(release, local=tmp_path)
    monkeypatch.setitem(SAE_RELEASES, release.id, emptied)
    with pytest.raises(BadInput, match="make lab"):
        load_sae(release.id, 0, "relu")
    assert before == (constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE)


def test_a_release_without_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=r"HF_HUB_OFFLINE is set.*hf auth login"):
        load_sae("llama-scope-lxr-8x", 15, "sae_lens")


def test_files_of_another_width_are_refused(monkeypatch):
    release = SAE_RELEASES["pitboss/lab-gemma-scope"]
    monkeypatch.setitem(SAE_RELEASES, release.id, dataclasses.replace(release, d_sae=512))
    with pytest.raises(Mismatch, match="256 features, the catalogue says 128 and 512"):
        load_sae(release.id, 0, "sae_lens")


def test_unknown_gates_and_layers_are_refused_before_anything_loads():
    with pytest.raises(BadInput, match="relu, sae_lens, authors"):
        load_sae("pitboss/lab-llama-scope", 0, "topk")
    with pytest.raises(BadInput, match="no SAE for layer 7"):
        load_sae("pitboss/lab-llama-scope", 7, "relu")
