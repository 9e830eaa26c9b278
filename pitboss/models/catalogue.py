"""The models and SAE releases the house knows, with the facts that are checked before any work.

A study names a model and an SAE release by id. Everything here is plain data: nothing is
downloaded, and no tensor library is imported.

Sources: the models' own `config.json` (dimensions; parameter counts follow from them), the
registry of sae-lens 6.54 (release names, layers, widths), the model cards (training model).
"""

from pathlib import Path

from pitboss.errors import BadInput, Mismatch
from pitboss.models.spec import ModelSpec, SaeRelease, ranges

__all__ = [
    "LAB_DIR",
    "MODELS",
    "SAE_RELEASES",
    "ModelSpec",
    "SaeRelease",
    "model_spec",
    "pairing_warnings",
    "sae_release",
]

LAB_DIR = Path(__file__).resolve().parents[2] / "lab"


_LAB_MODEL_WARNING = "A shipped model of under 1 M parameters: its results say nothing about LLMs."
_BASE_MODEL_WARNING = "A base model without a chat template: prompts are sent as raw text."

MODELS: dict[str, ModelSpec] = {
    spec.id: spec
    for spec in (
        ModelSpec(
            id="pitboss/lab-llama",
            revision=None,
            family="llama",
            n_layers=4,
            d_model=128,
            n_params=992_384,
            n_kv_heads=2,
            head_dim=32,
            vocab_size=800,
            sliding_window=None,
            chat_template=False,
            dtype="float32",
            max_positions=1024,
            warnings=(_LAB_MODEL_WARNING, _BASE_MODEL_WARNING),
            local=LAB_DIR / "models" / "llama",
        ),
        ModelSpec(
            id="pitboss/lab-gemma",
            revision=None,
            family="gemma2",
            n_layers=4,
            d_model=128,
            n_params=891_008,
            n_kv_heads=2,
            head_dim=32,
            vocab_size=800,
            sliding_window=128,
            chat_template=True,
            dtype="float32",
            max_positions=1024,
            warnings=(_LAB_MODEL_WARNING,),
            local=LAB_DIR / "models" / "gemma",
        ),
        ModelSpec(
            id="meta-llama/Llama-3.1-8B",
            revision="d04e592bb4f6aa9cfee91e2e20afa771667e1d4b",
            family="llama",
            n_layers=32,
            d_model=4096,
            n_params=8_030_261_248,
            n_kv_heads=8,
            head_dim=128,
            vocab_size=128_256,
            sliding_window=None,
            chat_template=False,
            dtype="bfloat16",
            max_positions=131_072,
            warnings=(_BASE_MODEL_WARNING,),
        ),
        ModelSpec(
            id="meta-llama/Llama-3.1-8B-Instruct",
            revision="0e9e39f249a16976918f6564b8830bc894c89659",
            family="llama",
            n_layers=32,
            d_model=4096,
            n_params=8_030_261_248,
            n_kv_heads=8,
            head_dim=128,
            vocab_size=128_256,
            sliding_window=None,
            chat_template=True,
            dtype="bfloat16",
            max_positions=131_072,
        ),
        ModelSpec(
            id="google/gemma-2-9b",
            revision="33c193028431c2fde6c6e51f29e6f17b60cbfac6",
            family="gemma2",
            n_layers=42,
            d_model=3584,
            n_params=9_241_705_984,
            n_kv_heads=8,
            head_dim=256,
            vocab_size=256_000,
            sliding_window=4096,
            chat_template=False,
            dtype="bfloat16",
            max_positions=8192,
            warnings=(_BASE_MODEL_WARNING,),
        ),
        ModelSpec(
            id="google/gemma-2-9b-it",
            revision="11c9b309abf73637e4b6f9a3fa1e92e615547819",
            family="gemma2",
            n_layers=42,
            d_model=3584,
            n_params=9_241_705_984,
            n_kv_heads=8,
            head_dim=256,
            vocab_size=256_000,
            sliding_window=4096,
            chat_template=True,
            dtype="bfloat16",
            max_positions=8192,
        ),
    )
}

SAE_RELEASES: dict[str, SaeRelease] = {
    release.id: release
    for release in (
        SaeRelease(
            id="pitboss/lab-llama-scope",
            release="llama_scope_lxr_8x",
            sae_id="l{layer}r_8x",
            kind="jumprelu",
            d_model=128,
            d_sae=256,
            layers=(0, 1, 2, 3),
            trained_on="pitboss/lab-llama",
            local=LAB_DIR / "hub",
        ),
        SaeRelease(
            id="pitboss/lab-gemma-scope",
            release=None,
            sae_id="layer_{layer}",
            kind="jumprelu",
            d_model=128,
            d_sae=256,
            layers=(0, 1, 2, 3),
            trained_on="pitboss/lab-gemma",
            local=LAB_DIR / "saes" / "gemma",
        ),
        SaeRelease(
            id="llama-scope-lxr-8x",
            release="llama_scope_lxr_8x",
            sae_id="l{layer}r_8x",
            kind="jumprelu",
            d_model=4096,
            d_sae=32_768,
            layers=tuple(range(32)),
            trained_on="meta-llama/Llama-3.1-8B",
        ),
        SaeRelease(
            id="gemma-scope-9b-pt-res-canonical-131k",
            release="gemma-scope-9b-pt-res-canonical",
            sae_id="layer_{layer}/width_131k/canonical",
            kind="jumprelu",
            d_model=3584,
            d_sae=131_072,
            layers=tuple(range(42)),
            trained_on="google/gemma-2-9b",
        ),
        SaeRelease(
            id="gemma-scope-9b-it-res-canonical-131k",
            release="gemma-scope-9b-it-res-canonical",
            sae_id="layer_{layer}/width_131k/canonical",
            kind="jumprelu",
            d_model=3584,
            d_sae=131_072,
            layers=(9, 20, 31),
            trained_on="google/gemma-2-9b-it",
        ),
    )
}


def model_spec(model_id: str) -> ModelSpec:
    """The catalogue's entry for a model; raises BadInput listing the known ids."""
    if model_id not in MODELS:
        raise BadInput(
            f"Unknown model {model_id!r}.",
            where="pitboss/models/catalogue.py",
            next=f"Use one of: {', '.join(MODELS)}.",
        )
    return MODELS[model_id]


def sae_release(release_id: str) -> SaeRelease:
    """The catalogue's entry for an SAE release; raises BadInput listing the known ids."""
    if release_id not in SAE_RELEASES:
        raise BadInput(
            f"Unknown SAE release {release_id!r}.",
            where="pitboss/models/catalogue.py",
            next=f"Use one of: {', '.join(SAE_RELEASES)}.",
        )
    return SAE_RELEASES[release_id]


def pairing_warnings(model_id: str, release_id: str) -> list[str]:
    """What a reader has to know when this SAE reads this model; empty for a perfect pair.

    Raises:
        BadInput: unknown id.
        Mismatch: the SAE cannot read the model at all (another width of the residual stream,
            or more layers than the model has).
    """
    model, sae = model_spec(model_id), sae_release(release_id)
    if sae.d_model != model.d_model:
        fits = [other.id for other in SAE_RELEASES.values() if other.d_model == model.d_model]
        raise Mismatch(
            f"SAE release {sae.id} reads vectors of width {sae.d_model}, "
            f"but {model.id} has a residual stream of width {model.d_model}.",
            where="models.*.sae in the study file",
            next=f"SAE releases of the right width: {', '.join(fits)}.",
        )
    found = []
    if sae.trained_on != model.id:
        found.append(
            f"{sae.id} was trained on {sae.trained_on}, not on {model.id}: "
            "expect a higher reconstruction error, and read features with care."
        )
    missing = [layer for layer in range(model.n_layers) if layer not in sae.layers]
    if missing:
        found.append(
            f"{sae.id} has SAEs only for layers {ranges(sae.layers)} "
            f"of the {model.n_layers} layers of {model.id}."
        )
    return found
