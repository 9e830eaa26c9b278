"""Copies between host and device that do not make the host wait."""

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy on the device, ordered with its stream; the host goes on at once."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def host_buffer(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A zeroed tensor on the host that `device` can copy to and from without waiting."""
    return torch.zeros(shape, dtype=dtype, pin_memory=device.type == "cuda")
