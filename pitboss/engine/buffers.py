"""What the step must know of the request in every slot: written on the host, sent in one piece."""

from typing import Any

import torch

# fresh: 1 on the first step of a request in its slot (the step itself clears it);
# live: 1 while a request is in the slot; start: position of its last prompt token.
_INTS = ("fresh", "live", "token", "start", "top_k", "min_new", "word0", "word1")
_FLOATS = ("temperature", "top_p")
# The order in which the patch kernel reads a patch slot.
PATCH_INTS = ("layer", "direction", "mode", "persists", "own", "linear", "feature")
PATCH_FLOATS = ("shift", "scale", "bias", "threshold", "value")


class SlotBuffers:
    """Numbers of every slot: int64 and float32 tables on the device that never move.

    Attributes:
        ints, floats: Device tables by name, each [width].
        patch_ints, patch_floats: Device tables, [patch slots, number, width].
    """

    def __init__(self, width: int, patch_slots: int, device: torch.device) -> None:
        self.patch_slots = patch_slots
        n_ints = len(_INTS) + patch_slots * len(PATCH_INTS)
        n_floats = len(_FLOATS) + patch_slots * len(PATCH_FLOATS)
        self._host_ints = host_buffer((n_ints, width), torch.int64, device)
        self._host_floats = host_buffer((n_floats, width), torch.float32, device)
        self._device_ints = torch.zeros(n_ints, width, dtype=torch.int64, device=device)
        self._device_floats = torch.zeros(n_floats, width, device=device)
        self.ints = dict(zip(_INTS, self._device_ints, strict=False))
        self.floats = dict(zip(_FLOATS, self._device_floats, strict=False))
        self.patch_ints = self._device_ints[len(_INTS) :].view(patch_slots, len(PATCH_INTS), width)
        self.patch_floats = self._device_floats[len(_FLOATS) :].view(
            patch_slots, len(PATCH_FLOATS), width
        )
        # numpy views: writing single numbers through torch costs microseconds each.
        self._host = self._host_ints.numpy(), self._host_floats.numpy()
        self._changed = False

    def put(self, slot: int, request: dict[str, Any], patches: list[dict[str, Any]]) -> None:
        """Write a request's numbers and those of its patches, one dict a patch slot in use."""
        ints, floats = self._host
        for i, name in enumerate(_INTS):
            ints[i, slot] = request[name]
        for i, name in enumerate(_FLOATS):
            floats[i, slot] = request[name]
        for patch_slot in range(self.patch_slots):
            at = len(_INTS) + patch_slot * len(PATCH_INTS)
            if patch_slot >= len(patches):
                ints[at, slot] = -1  # no layer
                continue
            for i, name in enumerate(PATCH_INTS):
                ints[at + i, slot] = patches[patch_slot][name]
            at = len(_FLOATS) + patch_slot * len(PATCH_FLOATS)
            for i, name in enumerate(PATCH_FLOATS):
                floats[at + i, slot] = patches[patch_slot][name]
        self._changed = True

    def clear(self, slot: int) -> None:
        """The slot has no request; what it leaves behind is computed on but never read."""
        ints, _ = self._host
        ints[: len(_INTS), slot] = 0
        for patch_slot in range(self.patch_slots):
            ints[len(_INTS) + patch_slot * len(PATCH_INTS), slot] = -1
        self._changed = True

    def send(self) -> None:
        """Bring the device's tables up to date, before a step."""
        if not self._changed:
            return
        self._device_ints.copy_(self._host_ints, non_blocking=True)
        self._device_floats.copy_(self._host_floats, non_blocking=True)
        self._changed = False

    def sent(self) -> None:
        """The step that read the tables is done: requests that were fresh no longer are."""
        self._host[0][0] = 0


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on the device, ordered with its stream; the host goes on at once."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def host_buffer(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A zeroed tensor on the host that `device` can copy to and from without waiting."""
    return torch.zeros(shape, dtype=dtype, pin_memory=device.type == "cuda")
