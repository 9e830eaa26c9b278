"""Patches as buffers: one place for each row, any mixture of blocks, features, values and modes.

All arithmetic is in float32 and the same for every row, patched or not, so that a row's result does
not depend on its neighbours.
"""

import torch

from pitboss.engine.row import Patch
from pitboss.errors import BadInput
from pitboss.saes.loading import SaeLayer

_MODES = {"delta": 0, "reconstruct": 1, "reconstruct_only": 2}
_NOWHERE = -1


class PatchLane:
    """At most one patch for each row; several lanes give rows several patches."""

    def __init__(self, rows: int, d_model: int, device: torch.device) -> None:
        self.layer = torch.full((rows,), _NOWHERE, dtype=torch.int64, device=device)
        self.feature = torch.zeros(rows, dtype=torch.int64, device=device)
        self.mode = torch.zeros(rows, dtype=torch.int64, device=device)
        self.enc = torch.zeros(rows, d_model, device=device)
        self.dec = torch.zeros(rows, d_model, device=device)
        self.shift, self.scale, self.bias, self.threshold, self.value = torch.zeros(
            5, rows, device=device
        )
        self.own = torch.zeros(rows, dtype=torch.bool, device=device)
        self.persists = torch.zeros(rows, dtype=torch.bool, device=device)
        self._live: dict[int, tuple[int, int]] = {}  # row → (layer, mode)

    def put(self, row: int, patch: Patch | None) -> None:
        if patch is None:
            self.layer[row] = _NOWHERE
            self._live.pop(row, None)
            return
        self.layer[row] = patch.layer
        self.feature[row] = patch.feature
        self.mode[row] = _MODES[patch.mode]
        self.enc[row] = patch.enc
        self.dec[row] = patch.dec
        self.shift[row], self.scale[row] = patch.shift, patch.scale
        self.bias[row], self.threshold[row] = patch.bias, patch.threshold
        self.own[row] = patch.value is None
        self.value[row] = 0.0 if patch.value is None else patch.value
        self.persists[row] = patch.positions == "prompt_last_and_generated"
        self._live[row] = (patch.layer, _MODES[patch.mode])

    def modes_at(self, layer: int) -> set[int]:
        return {mode for at, mode in self._live.values() if at == layer}

    def apply(
        self, layer: int, x: torch.Tensor, step: torch.Tensor, sae: SaeLayer | None
    ) -> torch.Tensor:
        """The residual stream [rows, d_model] after this lane's patches at this block."""
        modes = self.modes_at(layer)
        if not modes:
            return x
        on = (self.layer == layer) & (self.persists | (step == 0))
        exact = x.float()
        if 0 in modes:
            a = self._activation(exact)
            change = torch.where(self.own, 0.0, self.value - a)
            delta = on & (self.mode == 0)
            patched = (exact + change[:, None] * self.dec).to(x.dtype)
            x = torch.where(delta[:, None], patched, x)
        if modes & {1, 2}:
            assert sae is not None  # the engine refuses such rows at submission
            x = self._reconstruct(x, exact, on, sae)
        return x

    def _activation(self, x: torch.Tensor) -> torch.Tensor:
        v = (x * self.enc).sum(-1) + self.shift
        return torch.where(v > self.threshold, torch.relu(self.scale * v + self.bias), 0.0)

    def _reconstruct(
        self, x: torch.Tensor, exact: torch.Tensor, on: torch.Tensor, sae: SaeLayer
    ) -> torch.Tensor:
        f = sae.encode(exact)
        sets = (self.mode == 1) & ~self.own
        at = torch.where(sets, self.feature, 0)[:, None]
        f = f.scatter(1, at, torch.where(sets, self.value, f[:, 0])[:, None])
        through = on & (self.mode != 0)
        return torch.where(through[:, None], sae.decode(f).to(x.dtype), x)


def check_patch(patch: Patch, blocks: int, d_model: int, saes: dict[int, SaeLayer]) -> None:
    """Raise BadInput if the engine cannot apply this patch."""
    where = f"patch of feature {patch.feature} at layer {patch.layer}"
    if not 0 <= patch.layer < blocks:
        raise BadInput(f"layer {patch.layer} does not exist in a model of {blocks} blocks")
    for name, vector in (("encoder column", patch.enc), ("decoder row", patch.dec)):
        if tuple(vector.shape) != (d_model,):
            raise BadInput(
                f"the {name} has shape {tuple(vector.shape)}, the model needs ({d_model},)",
                where=where,
                next="use an SAE trained on this model's residual stream.",
            )
    if patch.mode != "delta" and patch.layer not in saes:
        raise BadInput(
            f"mode {patch.mode!r} needs the whole SAE of layer {patch.layer}", where=where
        )
