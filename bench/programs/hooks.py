"""Patches as a library's user would write them: a hook on each block, all rows at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pitboss.engine import Patch, Request


class RowPatches:
    """Delta patches of a batch: row i's patch changes row i only.

    The rows of each block are gathered beforehand, so that a block touches no others.
    """

    def __init__(self, rows: list[Request], device: torch.device) -> None:
        by_layer: dict[int, list[tuple[int, Patch]]] = {}
        for i, row in enumerate(rows):
            for patch in row.patches:
                if patch.mode != "delta":
                    raise ValueError(f"row {row.key}: mode {patch.mode!r} is not a delta patch")
                by_layer.setdefault(patch.layer, []).append((i, patch))
        self._at = {layer: _Group(some, device) for layer, some in by_layer.items()}

    def layers(self) -> list[int]:
        return sorted(self._at)

    def apply(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Change the last position of x [rows, positions, d_model] in place."""
        group = self._at[layer]
        last = x[group.rows, -1].float()
        v = (last * group.enc).sum(-1) + group.shift
        a = torch.where(v > group.threshold, torch.relu(group.scale * v + group.bias), 0.0)
        last += (group.value - a)[:, None] * group.dec
        x[group.rows, -1] = last.to(x.dtype)
        return x


class _Group:
    """The patches of one block, stacked."""

    def __init__(self, some: list[tuple[int, Patch]], device: torch.device) -> None:
        self.rows = torch.tensor([i for i, _ in some], device=device)
        patches = [patch for _, patch in some]
        self.enc = torch.stack([p.enc for p in patches]).to(device)
        self.dec = torch.stack([p.dec for p in patches]).to(device)
        numbers = [[p.shift, p.scale, p.bias, p.threshold, float(p.value or 0)] for p in patches]
        self.shift, self.scale, self.bias, self.threshold, self.value = torch.tensor(
            numbers, device=device
        ).T.contiguous()


@contextmanager
def patched(blocks: nn.ModuleList, patches: RowPatches) -> Iterator[None]:
    """While the context lasts, every forward pass through the blocks is patched."""

    def hook(layer: int) -> object:
        return lambda _module, _args, output: patches.apply(layer, output)

    handles = [
        blocks[layer].register_forward_hook(hook(layer))  # type: ignore[arg-type]
        for layer in patches.layers()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
