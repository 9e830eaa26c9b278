"""What is checked before any work: that the model, its hook points, the SAEs and the machine fit.

Each check costs a few forwards at most. In 2025 a layer index off by one voided weeks of
computation; the hook and reconstruction checks are there to make that impossible.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil
import torch
from torch import Tensor

from pitboss.errors import BadInput
from pitboss.models.hooks import block_outputs, final_norm
from pitboss.models.loading import LoadedModel

_CHECKED_PROMPTS = 8
"""Of more prompts than twice this, so many or a few more are checked, evenly spread."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked. ok: Whether it holds.
        detail: What was found, in one sentence with numbers.
        value: The number that decided, if one did.
    """

    name: str
    ok: bool
    detail: str
    value: float | None = None


class Unexplained(NamedTuple):
    """Fraction of variance an SAE leaves unexplained at its own layer and at the neighbours'.

    A neighbour that does not exist is None.
    """

    own: float
    below: float | None
    above: float | None


class ResidualCoder(Protocol):
    """What the reconstruction check needs of an SAE."""

    @property
    def layer(self) -> int: ...

    def encode(self, x: Tensor) -> Tensor: ...

    def decode(self, activations: Tensor) -> Tensor: ...


def require(checks: Iterable[Check]) -> None:
    """Raises BadInput that lists every check that failed."""
    failed = [check for check in checks if not check.ok]
    if failed:
        raise BadInput(
            "Checks failed: " + " ".join(f"[{check.name}] {check.detail}" for check in failed),
            where="checks before work starts",
            next="Repair what is named above; nothing has been computed yet.",
        )


def check_parameters(loaded: LoadedModel) -> Check:
    """The model has exactly the catalogue's number of parameters (tied weights once)."""
    found, expected = sum(p.numel() for p in loaded.model.parameters()), loaded.spec.n_params
    return Check(
        "parameters",
        found == expected,
        f"{loaded.spec.id} has {found:,} parameters, the catalogue says {expected:,}.",
        float(found),
    )


def check_bos(loaded: LoadedModel, texts: Iterable[str]) -> Check:
    """Every encoded text starts with the only BOS token in it."""
    bos, wrong, total = loaded.tokenizer.bos_token_id, 0, 0
    for text in texts:
        total += 1
        try:
            ids = loaded.encode(text)
        except BadInput:
            wrong += 1
        else:
            wrong += ids[0] != bos or ids.count(bos) != 1
    return Check("bos", wrong == 0, f"{wrong} of {total} prompts lack a single leading BOS.")


@torch.no_grad()
def check_hooks(loaded: LoadedModel, text: str) -> list[Check]:
    """Each block's hooked output is the hidden state that transformers reports, bit by bit.

    The last block's is compared through the final norm, which transformers applies there.
    """
    ids = torch.tensor([loaded.encode(text)], device=loaded.device)
    with block_outputs(loaded) as outputs:
        states = loaded.model(ids, use_cache=False, output_hidden_states=True).hidden_states
    checks = []
    for layer in range(loaded.spec.n_layers):
        last = layer == loaded.spec.n_layers - 1
        output = final_norm(loaded)(outputs[layer]) if last else outputs[layer]
        worst = float((output.float() - states[layer + 1].float()).abs().max())
        name = f"hook blocks.{layer}.hook_resid_post"
        against = f"hidden_states[{layer + 1}]" + (" through the final norm" if last else "")
        checks.append(Check(name, worst == 0, f"differs from {against} by {worst:.3g}.", worst))
    return checks


@torch.no_grad()
def unexplained(loaded: LoadedModel, sae: ResidualCoder, texts: list[str]) -> Unexplained:
    """How much of the residual stream's variance an SAE misses, BOS positions left out."""
    layers = [
        layer
        for layer in (sae.layer - 1, sae.layer, sae.layer + 1)
        if 0 <= layer < loaded.spec.n_layers
    ]
    gathered: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    with block_outputs(loaded) as outputs:
        for text in texts:
            loaded.model(torch.tensor([loaded.encode(text)], device=loaded.device), use_cache=False)
            for layer in layers:
                gathered[layer].append(outputs[layer][0, 1:].float())
    found = {layer: _fraction(sae, torch.cat(gathered[layer])) for layer in layers}
    return Unexplained(found[sae.layer], found.get(sae.layer - 1), found.get(sae.layer + 1))


def _fraction(sae: ResidualCoder, x: Tensor) -> float:
    error = x - sae.decode(sae.encode(x))
    return float(error.square().sum() / (x - x.mean(0)).square().sum())


def check_reconstruction(
    loaded: LoadedModel, saes: Iterable[ResidualCoder], texts: list[str], limit: float
) -> list[Check]:
    """Each SAE reconstructs its own layer below the limit, and better than the layers beside it.

    Args:
        saes: May be a generator that loads one SAE at a time.
        texts: Prompts like those of the study; of many, some are taken.
        limit: Largest allowed fraction of unexplained variance.
    """
    some = texts[:: max(1, len(texts) // _CHECKED_PROMPTS)]
    checks = []
    for sae in saes:
        found = unexplained(loaded, sae, some)
        beside = [value for value in (found.below, found.above) if value is not None]
        fits = all(found.own < value for value in beside)
        detail = f"layer {sae.layer} leaves {found.own:.3f} of the variance unexplained"
        detail += f" (limit {limit:.3f})"
        if not fits:
            detail += f", a neighbouring layer only {min(beside):.3f}: is the layer off by one?"
        checks.append(
            Check(
                f"reconstruction {sae.layer}", found.own <= limit and fits, detail + ".", found.own
            )
        )
    return checks


def free_bytes(device: torch.device) -> int:
    """Free memory of a device, in bytes, whoever else uses it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def check_memory(device: str | torch.device, needed: int) -> Check:
    """At least `needed` bytes are free on the device now, whoever else uses it."""
    free = free_bytes(torch.device(device))
    detail = f"{free / 1e9:.1f} GB free on {device}, {needed / 1e9:.1f} GB needed."
    return Check("memory", free >= needed, detail, float(free))


def check_disk(path: Path, needed: int) -> Check:
    """At least `needed` bytes are free where `path` lies or will be created."""
    existing = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / 1e9:.1f} GB free at {existing}, {needed / 1e9:.1f} GB needed."
    return Check("disk", free >= needed, detail, float(free))
