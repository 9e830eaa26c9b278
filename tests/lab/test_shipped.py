"""The shipped lab: its files, its models' habits, and planted features with known answers."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from pitboss.errors import BadInput
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import State, render
from pitboss.models.catalogue import LAB_DIR, SAE_RELEASES
from pitboss.models.checks import check_reconstruction
from pitboss.models.hooks import blocks
from pitboss.models.loading import LoadedModel, load_model
from pitboss.saes.loading import load_sae
from training import manifest

LAB_SAES = ["pitboss/lab-llama-scope", "pitboss/lab-gemma-scope"]
SCENES = ("exp2/safe", "exp2/risky")
PLANTED = json.loads((LAB_DIR / "planted.json").read_text())


def test_every_file_is_as_listed_and_all_fit_into_10_mb():
    assert manifest.verify(LAB_DIR) > 15
    assert sum(p.stat().st_size for p in LAB_DIR.rglob("*") if p.is_file()) <= 10e6
    assert not [p for p in LAB_DIR.rglob("*") if p.suffix in (".pt", ".bin", ".pkl", ".pth")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lab: (lab / "planted.json").write_text("{}"), "planted.json has changed"),
        (lambda lab: (lab / "planted.json").unlink(), "planted.json is missing"),
        (lambda lab: (lab / "extra.bin").touch(), "extra.bin is not listed"),
        (lambda lab: (lab / "manifest.json").unlink(), "no readable manifest"),
    ],
)
def test_a_changed_lab_is_noticed(change, message, tmp_path):
    lab = shutil.copytree(LAB_DIR, tmp_path / "lab")
    change(lab)
    with pytest.raises(BadInput, match=message):
        manifest.verify(lab)


def test_verify_is_a_command():
    command = [sys.executable, "-m", "training", "verify"]
    done = subprocess.run(command, cwd=LAB_DIR.parent, capture_output=True, text=True, check=True)
    assert "files as listed" in done.stdout


@pytest.fixture(scope="module", params=LAB_SAES)
def release_id(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def loaded(release_id) -> LoadedModel:
    return load_model(SAE_RELEASES[release_id].trained_on)


@pytest.fixture(scope="module")
def saes(release_id):
    return [load_sae(release_id, layer, "sae_lens") for layer in SAE_RELEASES[release_id].layers]


def test_reconstruction_is_good_at_its_own_layer_only(loaded, saes):
    texts = [render("exp0/planned", State(c, 100)).text for c in ALL_CONDITIONS[::8]]
    texts += [render(scene).text for scene in SCENES]
    found = check_reconstruction(loaded, saes, texts, limit=0.1)
    assert all(check.ok for check in found), found


def _stop_probability(
    loaded: LoadedModel, scene: str, layer: int = 0, push: torch.Tensor | None = None
) -> float:
    """P(stop) as the next token, by one plain uncached forward with a hook."""

    def patch(_module, _args, output):
        output = output.clone()
        output[:, -1] += push
        return output

    handle = blocks(loaded)[layer].register_forward_hook(patch) if push is not None else None
    try:
        with torch.no_grad():
            ids = torch.tensor([loaded.encode(render(scene).text)])
            logits = loaded.model(ids, use_cache=False).logits[0, -1] / 0.7
    finally:
        if handle:
            handle.remove()
    top = logits.topk(50)
    stop = loaded.tokenizer.convert_tokens_to_ids("2")
    probabilities = dict(zip(top.indices.tolist(), top.values.softmax(0).tolist(), strict=True))
    return probabilities.get(stop, 0.0)


def test_the_unpatched_stop_rates_leave_room_either_way(loaded):
    for scene in SCENES:
        assert 0.2 <= _stop_probability(loaded, scene) <= 0.6


def test_enough_features_are_planted_for_the_demo(release_id):
    for layer in PLANTED[release_id].values():
        roles = [feature["role"] for feature in layer]
        assert roles.count("causal") == roles.count("null") == 12
        assert len({feature["feature"] for feature in layer}) == 24


def test_planted_features_are_of_the_kind_that_selection_finds(release_id):
    for layer in PLANTED[release_id].values():
        for feature in layer:
            assert abs(feature["d"]) > 0.5 and feature["active"] > 0.9, feature


def test_declared_effects_are_what_a_patch_really_does(release_id, loaded, saes):
    """Recomputes P(stop) at the declared values with another implementation."""
    for sae in saes:
        features = PLANTED[release_id][str(sae.layer)]
        chosen = [f for f in features if f["role"] == "causal"][:2]
        chosen += [f for f in features if f["role"] == "null"][:2]
        for feature in chosen:
            for scene in SCENES:
                own = _activation(loaded, sae, scene, feature["feature"])
                for name in ("safe", "risky"):
                    push = (feature[name] - own) * sae.W_dec[feature["feature"]]
                    p = _stop_probability(loaded, scene, sae.layer, push)
                    assert p == pytest.approx(feature["p_stop"][scene][name], abs=2e-3)


def _activation(loaded, sae, scene, feature) -> float:
    seen = []
    handle = blocks(loaded)[sae.layer].register_forward_hook(
        lambda _module, _args, output: seen.append(output[0, -1])
    )
    _stop_probability(loaded, scene)
    handle.remove()
    return float(sae.encode(seen[0])[feature])


def test_causal_features_move_the_decision_and_null_features_do_not(release_id):
    for layer in PLANTED[release_id].values():
        for feature in layer:
            change = [abs(p["safe"] - p["risky"]) for p in feature["p_stop"].values()]
            if feature["role"] == "causal":
                assert min(change) > 0.6, feature
            else:
                assert max(change) < 0.02, feature


def test_a_pair_cancels_in_the_reconstruction(release_id, saes):
    for sae in saes:
        for feature in PLANTED[release_id][str(sae.layer)]:
            one, other = feature["feature"], feature["partner"]
            assert torch.equal(sae.W_enc[:, one], sae.W_enc[:, other])
            assert torch.equal(sae.shift[one], sae.shift[other])
            assert torch.equal(sae.W_dec[one], -sae.W_dec[other])
