"""Patches as numbers in buffers: any mixture of blocks, features, values and modes in one batch.

All delta patches of a request at one block read the same residual stream and add up. The arithmetic
is in float32, rounded once, and the same for every row of the batch, so that a request's result
does not depend on its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pitboss.engine.buffers import PATCH_FLOATS, PATCH_INTS, SlotBuffers, to_device
from pitboss.engine.request import Patch
from pitboss.errors import BadInput
from pitboss.saes.loading import SaeLayer

_MODES = {"delta": 0, "reconstruct": 1, "reconstruct_only": 2}


class Directions:
    """Encoder columns and decoder rows of the patches in flight, each pair once.

    Attributes:
        enc, dec: float32 [capacity, d_model].
    """

    def __init__(self, capacity: int, d_model: int, device: torch.device) -> None:
        self.enc, self.dec = torch.zeros(2, capacity, d_model, device=device)
        self._free = list(range(capacity - 1, -1, -1))
        self._index: dict[tuple[int, ...], int] = {}
        self._held: dict[int, _Pair] = {}

    def take(self, patch: Patch) -> int:
        """Where the patch's pair lies; sent there if it is not."""
        key = _key(patch)
        index = self._index.get(key)
        if index is None:
            index = self._index[key] = self._free.pop()
            self._held[index] = _Pair(key, patch)
            for table, vector in ((self.enc, patch.enc), (self.dec, patch.dec)):
                if vector.device != table.device:
                    vector = to_device(vector, table.device)
                table[index].copy_(vector, non_blocking=True)
        self._held[index].users += 1
        return index

    def leave(self, index: int) -> None:
        """One request fewer uses the pair that lies there."""
        pair = self._held[index]
        pair.users -= 1
        if not pair.users:
            self._free.append(index)
            del self._held[index], self._index[pair.key]


@dataclass(slots=True)
class _Pair:
    """Vectors that lie on the device, their users, and the patch that keeps their key's memory."""

    key: tuple[int, ...]
    patch: Patch
    users: int = 0


def _key(patch: Patch) -> tuple[int, ...]:
    """Same memory, same pair: a bank hands out a new view for every arm."""
    enc, dec = patch.enc, patch.dec
    return enc.data_ptr(), enc.stride(0), dec.data_ptr(), dec.stride(0)


def numbers(patch: Patch, direction: int) -> dict[str, Any]:
    """A patch as the buffers hold it."""
    return {
        "layer": patch.layer,
        "direction": direction,
        "mode": _MODES[patch.mode],
        "persists": patch.positions == "prompt_last_and_generated",
        "own": patch.value is None,
        "linear": patch.linear,
        "feature": patch.feature,
        "shift": patch.shift,
        "scale": patch.scale,
        "bias": patch.bias,
        "threshold": patch.threshold,
        "value": 0.0 if patch.value is None else patch.value,
    }


class Patcher:
    """Applies the patches of all slots after a block.

    Args:
        saes: Whole SAEs by block, needed only by the reconstruct modes.
        fast: Use the kernel; then every block in `saes` is reconstructed at every step, whatever is
            in the slots, because a CUDA graph cannot choose.
    """

    def __init__(
        self,
        buffers: SlotBuffers,
        directions: Directions,
        saes: Mapping[int, SaeLayer],
        fast: bool,
    ) -> None:
        self.buffers, self.directions, self.saes, self.fast = buffers, directions, saes, fast
        self._live: dict[int, tuple[Patch, ...]] = {}
        self._taken: dict[int, list[int]] = {}  # where the pairs of a slot's patches lie

    def put(self, slot: int, patches: tuple[Patch, ...]) -> list[dict[str, Any]]:
        """Note the patches of a slot's request; returns their numbers for the buffers."""
        taken = [self.directions.take(patch) for patch in patches]
        self._live[slot], self._taken[slot] = patches, taken
        return [numbers(patch, index) for patch, index in zip(patches, taken, strict=True)]

    def clear(self, slot: int) -> None:
        self._live.pop(slot, None)
        for index in self._taken.pop(slot, ()):
            self.directions.leave(index)

    def begin(self) -> None:
        """Before a step: which blocks have patches at all, and of what kind."""
        self._modes: dict[int, set[str]] = {}
        for patches in self._live.values():
            for patch in patches:
                self._modes.setdefault(patch.layer, set()).add(patch.mode)

    def apply(self, index: int, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """The residual stream [width, d_model] after the patches at this block."""
        if not self.buffers.patch_slots:
            return x
        if self.fast:
            self._delta_fast(index, x, step)
        elif "delta" in self._modes.get(index, ()):
            x = self._delta(index, x, step)
        whole = index in self.saes
        if whole and (self.fast or self._modes.get(index, set()) - {"delta"}):
            for patch_slot in range(self.buffers.patch_slots):
                x = self._reconstruct(index, x, step, patch_slot)
        return x

    def _numbers(self, patch_slot: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The numbers of one patch slot of all rows, by name."""
        ints = dict(zip(PATCH_INTS, self.buffers.patch_ints[patch_slot], strict=True))
        return ints, dict(zip(PATCH_FLOATS, self.buffers.patch_floats[patch_slot], strict=True))

    def _delta(self, index: int, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        exact = x.float()
        changed, touched = exact, torch.zeros_like(step, dtype=torch.bool)
        for patch_slot in range(self.buffers.patch_slots):
            i, f = self._numbers(patch_slot)
            on = _on(i, index, step) & (i["mode"] == 0) & (i["own"] == 0)
            v = (exact * self.directions.enc[i["direction"]]).sum(-1) + f["shift"]
            a = torch.where(v > f["threshold"], torch.relu(f["scale"] * v + f["bias"]), 0.0)
            a = torch.where(i["linear"] != 0, v, a)
            change = torch.where(on, f["value"] - a, 0.0)
            changed = changed + change[:, None] * self.directions.dec[i["direction"]]
            touched = touched | on
        return torch.where(touched[:, None], changed.to(x.dtype), x)

    def _delta_fast(self, index: int, x: torch.Tensor, step: torch.Tensor) -> None:
        import triton

        from pitboss.engine.kernels import patch_rows

        width, d_model = x.shape
        patch_rows[(width,)](
            x, index, step, self.buffers.patch_ints, self.buffers.patch_floats,
            self.directions.enc, self.directions.dec, width, d_model,
            PATCH_SLOTS=self.buffers.patch_slots, INTS=len(PATCH_INTS), FLOATS=len(PATCH_FLOATS),
            BLOCK=triton.next_power_of_2(d_model), num_warps=8,
        )  # fmt: skip

    def _reconstruct(
        self, index: int, x: torch.Tensor, step: torch.Tensor, patch_slot: int
    ) -> torch.Tensor:
        i, f = self._numbers(patch_slot)
        sae = self.saes[index]
        features = sae.encode(x.float())
        sets = (i["mode"] == 1) & (i["own"] == 0)
        at = torch.where(sets, i["feature"], 0)[:, None]
        features = features.scatter(1, at, torch.where(sets, f["value"], features[:, 0])[:, None])
        through = _on(i, index, step) & (i["mode"] != 0)
        return torch.where(through[:, None], sae.decode(features).to(x.dtype), x)


def _on(ints: dict[str, torch.Tensor], index: int, step: torch.Tensor) -> torch.Tensor:
    return (ints["layer"] == index) & ((ints["persists"] != 0) | (step == 0))


def check_patch(patch: Patch, blocks: int, d_model: int, saes: Mapping[int, SaeLayer]) -> None:
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
