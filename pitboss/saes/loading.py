"""Loading one layer's SAE through sae-lens, brought to one formula for every kind.

For a residual vector x and feature f, every kind whose features can be computed one by one is

    v = x . W_enc[:, f] + shift[f]
    a = relu(scale[f] * v + bias[f])   where v > threshold[f], else 0

    kind      shift                              scale        bias    threshold
    standard  b_enc - [b_dec . W_enc]            1            0       0
    jumprelu  b_enc - [b_dec . W_enc]            1            0       depends on the gate
    gated     -[b_dec . W_enc]                   exp(r_mag)   b_mag   -b_gate

where the bracket is there only if the SAE subtracts its decoder bias from its input. Because
nothing but the stored parameters enters, a feature bank needs no sae-lens to compute `a`.

**Gates.** Which features count as firing is a choice, recorded with every result:

    relu      threshold 0: what the 2025 gambling study really ran.
    sae_lens  the threshold as sae-lens loads it.
    authors   Llama Scope's own definition. The published scalar applies to pre-activations
              rescaled to unit decoder norm; in sae-lens' parametrisation that is the loaded
              threshold divided by the norm of the published decoder column
              (OpenMOSS/Language-Model-SAEs, `transform_to_unit_decoder_norm`).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import torch
from torch import Tensor

from pitboss.errors import BadInput, Mismatch
from pitboss.models.catalogue import SaeRelease, sae_release
from pitboss.models.hub import require_reachable

Gate = Literal["relu", "sae_lens", "authors"]
GATES: tuple[Gate, ...] = ("relu", "sae_lens", "authors")

_HUB_LOCK = Lock()
_ADVICE = (
    "Check the network and `hf auth login`, or download the release once and set HF_HUB_OFFLINE=1."
)


@dataclass(frozen=True, slots=True)
class SaeLayer:
    """One layer's SAE in float32; d = width of the residual stream, f = number of features.

    Attributes:
        layer: Block whose output it reads (0-based).
        kind: "standard", "jumprelu" or "gated".
        gate: Which firing rule `threshold` stands for.
        W_enc: [d, f] encoder. W_dec: [f, d] decoder. b_dec: [d] decoder bias.
        shift, scale, bias, threshold: [f], see the module's formula.
        source: Where it comes from: release, sae_id, hook_point, sha256 of the parameters.
    """

    layer: int
    kind: str
    gate: Gate
    W_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    shift: Tensor
    scale: Tensor
    bias: Tensor
    threshold: Tensor
    source: dict[str, Any]

    def encode(self, x: Tensor) -> Tensor:
        """Activations [..., f] of residual vectors x [..., d], computed in float32."""
        v = x.to(self.W_enc.dtype) @ self.W_enc + self.shift
        fires = v > self.threshold
        return torch.relu(v.mul_(self.scale).add_(self.bias)).mul_(fires)

    def decode(self, activations: Tensor) -> Tensor:
        """Reconstruction [..., d] of activations [..., f]."""
        return activations @ self.W_dec + self.b_dec


def load_sae(
    release_id: str, layer: int, gate: Gate, device: str | torch.device = "cpu"
) -> SaeLayer:
    """Loads one SAE of the catalogue.

    Raises:
        BadInput: unknown release, layer or gate, missing files, a kind that is not separable.
        Mismatch: the files have another width than the catalogue says.
    """
    release = sae_release(release_id)
    sae_id = release.sae_id_of(layer)
    if gate not in GATES:
        raise BadInput(
            f"Unknown gate {gate!r}.",
            where="features.gate in the study file",
            next=f"Use one of: {', '.join(GATES)}.",
        )
    sae, norm_factor = _load_with_sae_lens(release, sae_id)
    found = (int(sae.cfg.d_in), int(sae.cfg.d_sae))
    if found != (release.d_model, release.d_sae):
        raise Mismatch(
            f"SAE {release.id} layer {layer} is {found[0]} wide with {found[1]} features, "
            f"the catalogue says {release.d_model} and {release.d_sae}.",
            where=f"sae_id {sae_id}",
            next="Fetch the right release, or correct pitboss/models/catalogue.py.",
        )
    source = {
        "release": release.id,
        "sae_id": sae_id,
        "hook_point": f"blocks.{layer}.hook_resid_post",
    }
    return as_layer(
        sae, layer=layer, gate=gate, norm_factor=norm_factor, source=source, device=device
    )


def as_layer(
    sae: Any,
    *,
    layer: int,
    gate: Gate,
    norm_factor: float | None,
    source: dict[str, Any],
    device: str | torch.device = "cpu",
) -> SaeLayer:
    """Brings a loaded sae-lens SAE to the formula above.

    Args:
        sae: A sae-lens inference SAE.
        norm_factor: Llama Scope's input scale s of this layer; None for other releases.

    Raises:
        BadInput: features not computable one by one, normalisation at run time, or a gate
            that this SAE does not define.
    """
    kind = str(sae.cfg.architecture())
    _check_separable(sae, kind, source)
    parameters = {name: p.detach().float().cpu() for name, p in sae.named_parameters()}
    W_enc, W_dec = parameters["W_enc"], parameters["W_dec"]
    one, zero = torch.ones(W_enc.shape[1]), torch.zeros(W_enc.shape[1])
    centre = parameters["b_dec"] @ W_enc if sae.cfg.apply_b_dec_to_input else zero
    if kind == "gated":
        if gate == "authors":
            raise _no_authors_gate(source)
        # The relu gate drops the gating path: no threshold, only the magnitude's own relu.
        ungated = torch.full_like(zero, -torch.inf)
        shift, scale, bias = -centre, parameters["r_mag"].exp(), parameters["b_mag"]
        threshold = ungated if gate == "relu" else -parameters["b_gate"]
    else:
        shift, scale, bias = parameters["b_enc"] - centre, one, zero
        threshold = _threshold(parameters, gate, norm_factor, source)
    tensors = {
        "W_enc": W_enc,
        "W_dec": W_dec,
        "b_dec": parameters["b_dec"],
        "shift": shift,
        "scale": scale,
        "bias": bias,
        "threshold": threshold,
    }
    return SaeLayer(
        layer=layer,
        kind=kind,
        gate=gate,
        source={**source, "kind": kind, "gate": gate, "sha256": _digest(parameters)},
        **{name: tensor.contiguous().to(device) for name, tensor in tensors.items()},
    )


def _threshold(
    parameters: dict[str, Tensor], gate: Gate, norm_factor: float | None, source: dict[str, Any]
) -> Tensor:
    """Threshold [f] of a standard or jumprelu SAE under a gate."""
    loaded = parameters.get("threshold")
    if gate == "authors":
        if norm_factor is None or loaded is None:
            raise _no_authors_gate(source)
        # sae-lens has divided the published decoder by the norm factor; undo it for the norm.
        published_norm = torch.linalg.vector_norm(parameters["W_dec"], dim=1) * norm_factor
        authors: Tensor = loaded / published_norm
        return authors
    if gate == "relu" or loaded is None:
        return torch.zeros(parameters["W_enc"].shape[1])
    return loaded


def _no_authors_gate(source: dict[str, Any]) -> BadInput:
    return BadInput(
        "The gate 'authors' is defined for Llama Scope SAEs only.",
        where=str(source.get("release", "")),
        next="Use gate sae_lens (for other releases this is the authors' own threshold).",
    )


def _check_separable(sae: Any, kind: str, source: dict[str, Any]) -> None:
    where = f"{source.get('release', '')} {source.get('sae_id', '')}".strip()
    if kind not in ("standard", "jumprelu", "gated"):
        raise BadInput(
            f"SAEs of kind {kind!r} cannot be read feature by feature: whether one feature "
            "fires depends on all others.",
            where=where,
            next="Use a standard, jumprelu or gated SAE (BatchTopK SAEs are saved as jumprelu).",
        )
    if sae.cfg.normalize_activations not in ("none", None):
        raise BadInput(
            f"This SAE normalises its input at run time ({sae.cfg.normalize_activations}).",
            where=where,
            next="Fold the normalisation into the weights with sae-lens and save the SAE again.",
        )
    if sae.cfg.reshape_activations not in ("none", None):
        raise BadInput(
            f"This SAE reshapes its input ({sae.cfg.reshape_activations}): it does not read the "
            "residual stream.",
            where=where,
            next="Use an SAE of a residual stream hook point (hook_resid_post).",
        )


def _load_with_sae_lens(release: SaeRelease, sae_id: str) -> tuple[Any, float | None]:
    """The sae-lens SAE on the CPU in float32, and Llama Scope's norm factor if it has one."""
    from sae_lens import SAE  # 9 s and 500 MB: only where an SAE is really loaded
    from sae_lens.loading.pretrained_saes_directory import (
        get_norm_scaling_factor,
        get_repo_id_and_folder_name,
    )

    if release.local is None and release.release is not None:
        repo, _ = get_repo_id_and_folder_name(release.release, sae_id)
        require_reachable(repo, what=f"SAE {release.id} ({sae_id})", next=_ADVICE)
    try:
        if release.release is None:
            path = (release.local or Path()) / sae_id
            if not (path / "cfg.json").is_file():
                raise FileNotFoundError(f"no cfg.json in {path}")
            return SAE.load_from_disk(path, device="cpu", dtype="float32"), None
        with _hub_cache(release.local):
            sae = SAE.from_pretrained(release.release, sae_id, device="cpu", dtype="float32")
        return sae, get_norm_scaling_factor(release.release, sae_id)
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"SAE {release.id} ({sae_id}) cannot be loaded: {reason}",
            where=str(release.local or release.release),
            next="Run `make lab` to build the shipped SAEs again." if release.local else _ADVICE,
        ) from error


@contextmanager
def _hub_cache(folder: Path | None) -> Iterator[None]:
    """Makes huggingface_hub read only this cache folder, offline, while the block runs.

    The hub client reads these two constants at each call. They are set and put back instead
    of the environment, so that a shipped release loads beside models from the user's own cache.
    """
    if folder is None:
        yield
        return
    from huggingface_hub import constants

    with _HUB_LOCK:
        saved = constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE
        constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = str(folder), True
        try:
            yield
        finally:
            constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = saved


def _digest(parameters: dict[str, Tensor]) -> str:
    """sha256 over names and float32 bytes, so equal weights have one name in any file layout."""
    digest = hashlib.sha256()
    for name in sorted(parameters):
        digest.update(name.encode())
        digest.update(parameters[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
