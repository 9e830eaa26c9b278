"""Writing dictionaries in the layouts from which the production loader reads the real ones."""

import hashlib
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from pitboss.models.catalogue import SaeRelease
from training.dictionary import Dictionary

# Mean norm of decoder rows in published scale; measured on the real L15R-8x
# (OpenMOSS/Llamascopium#128). Norms other than 1 make the gates differ.
DECODER_NORM = 1.5


def llama_scope_factor(release: SaeRelease, layer: int) -> float:
    """Llama Scope's input scale s of one layer, from sae-lens' own registry."""
    from sae_lens.loading.pretrained_saes_directory import get_norm_scaling_factor

    factor = get_norm_scaling_factor(str(release.release), release.sae_id_of(layer))
    if factor is None:
        raise ValueError(f"sae-lens has no norm factor for {release.sae_id_of(layer)}")
    return factor


def export_llama_scope(dictionaries: dict[int, Dictionary], release: SaeRelease, hub: Path) -> None:
    """Writes all layers as a hub cache that holds one snapshot of Llama Scope's repository.

    Published scale: E = W_enc / s, D = W_dec s, decoder bias b_dec s, scalar threshold / s; the
    loader folds s back in. Its two sources of s, the registry and hyperparams.json, agree.
    """
    from sae_lens.loading.pretrained_saes_directory import get_repo_id_and_folder_name

    digest = hashlib.sha1()
    for layer in sorted(dictionaries):
        for tensor in (dictionaries[layer].W_enc, dictionaries[layer].W_dec):
            digest.update(tensor.numpy().tobytes())
    revision = digest.hexdigest()
    shutil.rmtree(hub, ignore_errors=True)  # one snapshot: an older one would stay unread
    for layer, dictionary in dictionaries.items():
        sae_id = release.sae_id_of(layer)
        repo, folder = get_repo_id_and_folder_name(str(release.release), sae_id)
        root = hub / f"models--{repo.replace('/', '--')}"
        s = llama_scope_factor(release, layer)
        target = root / "snapshots" / revision / folder
        (target / "checkpoints").mkdir(parents=True, exist_ok=True)
        d_model, d_sae = dictionary.W_enc.shape
        norm = d_model**0.5 / s
        hyperparams = {
            "d_model": d_model,
            "d_sae": d_sae,
            "dataset_average_activation_norm": {"in": norm, "out": norm},
            "hook_point_in": f"blocks.{layer}.hook_resid_post",
            "hook_point_out": f"blocks.{layer}.hook_resid_post",
            "jump_relu_threshold": dictionary.threshold / s,
            "sparsity_include_decoder_norm": True,
        }
        (target / "hyperparams.json").write_text(json.dumps(hyperparams, indent=1) + "\n")
        save_file(
            {
                "encoder.weight": (dictionary.W_enc / s).T.contiguous(),
                "encoder.bias": dictionary.b_enc,
                "decoder.weight": (dictionary.W_dec * s).T.contiguous(),
                "decoder.bias": dictionary.b_dec * s,
            },
            target / "checkpoints" / "final.safetensors",
        )
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / "main").write_text(revision)


def export_sae_lens(dictionary: Dictionary, release: SaeRelease, layer: int, folder: Path) -> None:
    """Writes one layer as a JumpReLU SAE in sae-lens' own layout."""
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig
    from sae_lens.saes.sae import SAEMetadata

    d_model, d_sae = dictionary.W_enc.shape
    config = JumpReLUSAEConfig(
        d_in=d_model,
        d_sae=d_sae,
        apply_b_dec_to_input=False,
        metadata=SAEMetadata(
            model_name=release.trained_on,
            hook_name=f"blocks.{layer}.hook_resid_post",
            prepend_bos=True,
        ),
    )
    sae = JumpReLUSAE(config)
    sae.load_state_dict(
        {
            "W_enc": dictionary.W_enc,
            "b_enc": dictionary.b_enc,
            "W_dec": dictionary.W_dec,
            "b_dec": dictionary.b_dec,
            "threshold": torch.full((d_sae,), dictionary.threshold),
        }
    )
    sae.save_model(folder)
