"""The feature bank: all that patching needs of the selected features, in one small file.

A bank holds, for each selected feature, its encoder column, its four gate parameters, its
decoder row and the values to patch to, in float32. 9,300 features of LLaMA-3.1-8B take 305 MB
instead of the 33 GB of 31 resident SAEs, and no sae-lens import is needed to use them.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pitboss.errors import BadInput, Mismatch
from pitboss.saes.loading import SaeLayer

_COLUMNS = ("layer", "feature", "enc", "shift", "scale", "bias", "threshold", "dec")
_VALUE_PREFIX = "value."


@dataclass(frozen=True, slots=True)
class FeatureBank:
    """n features of a residual stream of width d, all in float32.

    Attributes:
        layer, feature: [n] int64, which feature of which layer's SAE.
        enc: [n, d] encoder columns. dec: [n, d] decoder rows.
        shift, scale, bias, threshold: [n], see `pitboss.saes.loading`.
        values: named target activations [n], such as "safe" and "risky".
        meta: what the numbers belong to (model, SAE release, gate, hook point, ...), JSON-able.
    """

    layer: Tensor
    feature: Tensor
    enc: Tensor
    shift: Tensor
    scale: Tensor
    bias: Tensor
    threshold: Tensor
    dec: Tensor
    values: dict[str, Tensor] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.layer.shape[0])

    @classmethod
    def build(
        cls,
        saes: Iterable[SaeLayer],
        selection: Mapping[int, Iterable[int]],
        *,
        values: Mapping[str, Mapping[tuple[int, int], float]] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> "FeatureBank":
        """Takes the selected features out of SAEs, which may be loaded one at a time.

        Args:
            saes: SAEs, of which only the selected layers are used.
            selection: layer -> feature ids; their order is kept, layers ascend.
            values: name -> {(layer, feature): target activation}, complete for each name.
            meta: What the bank belongs to. `saes` (release, gate, hash per layer) is added.

        Raises:
            BadInput: a selected layer has no SAE, a feature id is out of range or repeated,
                or a target value is missing.
        """
        pieces: dict[int, dict[str, Tensor]] = {}
        sources: dict[str, Any] = {}
        for sae in saes:
            ids = list(selection.get(sae.layer, ()))
            if ids:
                pieces[sae.layer] = _piece(sae, ids)
                sources[str(sae.layer)] = sae.source
            del sae  # makes room before the next one is loaded
        missing = sorted(layer for layer in selection if layer not in pieces and selection[layer])
        if missing or not pieces:
            raise BadInput(
                f"No SAE was given for the selected layers {missing}."
                if missing
                else "The selection holds no feature.",
                where="feature bank",
                next="Load the SAEs of all selected layers, or loosen the selection.",
            )
        ordered = [pieces[layer] for layer in sorted(pieces)]
        columns = {name: torch.cat([piece[name] for piece in ordered]) for name in _COLUMNS}
        bank = cls(values={}, meta={**(meta or {}), "saes": sources}, **columns)
        return replace(bank, values={k: bank._lookup(k, v) for k, v in (values or {}).items()})

    def rows(self, index: Tensor | list[int]) -> "FeatureBank":
        """The features at these row numbers, in this order."""
        chosen = torch.as_tensor(index, dtype=torch.int64, device=self.layer.device)
        columns = {name: getattr(self, name)[chosen] for name in _COLUMNS}
        return FeatureBank(
            **columns, values={k: v[chosen] for k, v in self.values.items()}, meta=self.meta
        )

    def to(self, device: str | torch.device) -> "FeatureBank":
        """A copy on another device."""
        columns = {name: getattr(self, name).to(device) for name in _COLUMNS}
        return FeatureBank(
            **columns, values={k: v.to(device) for k, v in self.values.items()}, meta=self.meta
        )

    def activation(self, x: Tensor) -> Tensor:
        """Activation [n] of feature i on residual vector x[i]; x is [n, d] (or [d] for all)."""
        v = (x.to(self.enc.dtype) * self.enc).sum(-1) + self.shift
        return torch.relu(self.scale * v + self.bias) * (v > self.threshold)

    def save(self, path: Path) -> None:
        """Writes `path` (safetensors) and `path.json` (meta, names, sha256), each atomically."""
        tensors = {name: getattr(self, name).cpu().contiguous() for name in _COLUMNS}
        tensors |= {f"{_VALUE_PREFIX}{k}": v.cpu().contiguous() for k, v in self.values.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        save_file(tensors, partial)
        facts = {
            "features": len(self),
            "values": sorted(self.values),
            "sha256": _file_sha256(partial),
            "meta": self.meta,
        }
        _replace(partial, path)
        beside = _beside(path)
        partial_json = beside.with_name(beside.name + ".partial")
        partial_json.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
        _replace(partial_json, beside)

    @classmethod
    def load(cls, path: Path, *, expect: Mapping[str, Any] | None = None) -> "FeatureBank":
        """Reads a bank.

        Args:
            path: The safetensors file; its JSON lies beside it.
            expect: meta fields that must have these values.

        Raises:
            BadInput: a file is missing or damaged.
            Mismatch: a meta field differs from `expect`, naming the field.
        """
        beside = _beside(path)
        if not path.is_file() or not beside.is_file():
            raise BadInput(
                "The feature bank is incomplete.",
                where=f"{path} and {beside.name}",
                next="Run the features experiment again, or copy both files.",
            )
        try:
            facts = json.loads(beside.read_text())
            _check_expected(facts["meta"], expect or {}, path)
            if facts["sha256"] != _file_sha256(path):
                raise _damaged(path)
            tensors = load_file(path)
            columns = {name: tensors.pop(name) for name in _COLUMNS}
        except (KeyError, json.JSONDecodeError, SafetensorError) as error:
            raise _damaged(path) from error
        values = {name.removeprefix(_VALUE_PREFIX): t for name, t in tensors.items()}
        return cls(**columns, values=values, meta=facts["meta"])

    def _lookup(self, name: str, targets: Mapping[tuple[int, int], float]) -> Tensor:
        keys = list(zip(self.layer.tolist(), self.feature.tolist(), strict=True))
        absent = [key for key in keys if key not in targets]
        if absent:
            raise BadInput(
                f"{len(absent)} selected features have no value {name!r}, first (layer, feature) "
                f"{absent[0]}.",
                where="feature bank",
                next="Give every selected feature a target value.",
            )
        return torch.tensor([float(targets[key]) for key in keys], device=self.layer.device)


def _piece(sae: SaeLayer, ids: list[int]) -> dict[str, Tensor]:
    """One layer's part of the bank."""
    d_sae = sae.W_enc.shape[1]
    wrong = [i for i in ids if not 0 <= i < d_sae]
    if wrong or len(set(ids)) != len(ids):
        raise BadInput(
            f"Layer {sae.layer}: feature {wrong[0]} is outside 0-{d_sae - 1}."
            if wrong
            else f"Layer {sae.layer}: a feature is selected twice.",
            where="feature selection",
            next="Check that the selection was made with this SAE.",
        )
    index = torch.tensor(ids, device=sae.W_enc.device)
    return {
        "layer": torch.full_like(index, sae.layer),
        "feature": index,
        # A gathered column is strided over all d_model rows; rows are what the engine reads.
        "enc": sae.W_enc[:, index].T.contiguous(),
        "dec": sae.W_dec[index].contiguous(),
        **{name: getattr(sae, name)[index] for name in ("shift", "scale", "bias", "threshold")},
    }


def _check_expected(meta: Mapping[str, Any], expect: Mapping[str, Any], path: Path) -> None:
    for name, value in expect.items():
        if meta.get(name) != value:
            raise Mismatch(
                f"The feature bank has {name} {meta.get(name)!r}, this work needs {value!r}.",
                where=str(path),
                next="Use the bank of this study, or select the features again.",
            )


def _damaged(path: Path) -> BadInput:
    return BadInput(
        "The feature bank is damaged: its content does not fit the JSON beside it.",
        where=str(path),
        next="Run the features experiment again.",
    )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(partial: Path, path: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
