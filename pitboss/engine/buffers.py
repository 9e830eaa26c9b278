"""What the step must know of the row in every slot, written on the host and sent in one piece."""

from typing import Any

import torch

from pitboss.engine.transfer import host_buffer

# fresh: 1 on the step on which the row has just sat down (the step itself clears it);
# live: 1 while a row sits there; start: position of its last prompt token.
_INTS = ("fresh", "live", "token", "start", "top_k", "min_new", "word0", "word1")
_FLOATS = ("temperature", "top_p")
# The order in which the patch kernel reads a lane.
PATCH_INTS = ("layer", "direction", "mode", "persists", "own", "linear", "feature")
PATCH_FLOATS = ("shift", "scale", "bias", "threshold", "value")


class RowBuffers:
    """Numbers of every slot: int64 and float32 tables on the device that never move.

    Attributes:
        ints, floats: Device tables by name, each [width].
        patch_ints, patch_floats: Device tables, [lanes, number, width].
    """

    def __init__(self, width: int, lanes: int, device: torch.device) -> None:
        self.lanes = lanes
        n_ints = len(_INTS) + lanes * len(PATCH_INTS)
        n_floats = len(_FLOATS) + lanes * len(PATCH_FLOATS)
        self._host_ints = host_buffer((n_ints, width), torch.int64, device)
        self._host_floats = host_buffer((n_floats, width), torch.float32, device)
        self._device_ints = torch.zeros(n_ints, width, dtype=torch.int64, device=device)
        self._device_floats = torch.zeros(n_floats, width, device=device)
        self.ints = dict(zip(_INTS, self._device_ints, strict=False))
        self.floats = dict(zip(_FLOATS, self._device_floats, strict=False))
        self.patch_ints = self._device_ints[len(_INTS) :].view(lanes, len(PATCH_INTS), width)
        self.patch_floats = self._device_floats[len(_FLOATS) :].view(
            lanes, len(PATCH_FLOATS), width
        )
        # numpy views: writing single numbers through torch costs microseconds each.
        self._rows = self._host_ints.numpy(), self._host_floats.numpy()
        self._changed = False

    def put(self, slot: int, row: dict[str, Any], patches: list[dict[str, Any]]) -> None:
        """Write a row's numbers and those of its patches, one dict a lane in use."""
        ints, floats = self._rows
        for i, name in enumerate(_INTS):
            ints[i, slot] = row[name]
        for i, name in enumerate(_FLOATS):
            floats[i, slot] = row[name]
        for lane in range(self.lanes):
            at = len(_INTS) + lane * len(PATCH_INTS)
            if lane >= len(patches):
                ints[at, slot] = -1  # no layer
                continue
            for i, name in enumerate(PATCH_INTS):
                ints[at + i, slot] = patches[lane][name]
            at = len(_FLOATS) + lane * len(PATCH_FLOATS)
            for i, name in enumerate(PATCH_FLOATS):
                floats[at + i, slot] = patches[lane][name]
        self._changed = True

    def clear(self, slot: int) -> None:
        """The slot has no row; what it leaves behind is computed on but never read."""
        ints, _ = self._rows
        ints[: len(_INTS), slot] = 0
        for lane in range(self.lanes):
            ints[len(_INTS) + lane * len(PATCH_INTS), slot] = -1
        self._changed = True

    def send(self) -> None:
        """Bring the device's tables up to date, before a step."""
        if not self._changed:
            return
        self._device_ints.copy_(self._host_ints, non_blocking=True)
        self._device_floats.copy_(self._host_floats, non_blocking=True)
        self._changed = False

    def sent(self) -> None:
        """The step that read the tables is done: rows that were fresh no longer are."""
        self._rows[0][0] = 0
