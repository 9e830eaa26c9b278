"""Fewer requests in flight, or none, while others need the device's memory; and back.

Between two steps an engine asks how many requests may be in flight. To change their number it drops
its keys, values and buffers, builds them again for the new number, and begins the requests that
were in flight from their first token: a request's result depends on that request alone, so it does
not change. Told that none may be, it moves the model to the host and waits.

What a frame names cannot be given up. So nothing waits beneath a frame that names memory of the
device, and no exception keeps such frames.
"""

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, Protocol

import torch
from torch import nn

from pitboss.engine.architecture import lay_side_by_side
from pitboss.saes.loading import SaeLayer


class Pressure(Protocol):
    """Tells an engine how many requests may be in flight."""

    def __call__(self, slots: int) -> int:
        """The most requests that may be in flight now, given that `slots` are; 0: leave the device.

        An engine that has left the device asks with 0 again and again, so that answer may take its
        time. One that found no memory for what it was allowed asks again with fewer than that.
        """


class Resizable(Protocol):
    """What of an engine is changed under pressure."""

    most: int

    def build(self, slots: int) -> None:
        """Take the memory for so many slots, and bring the model back if it is away."""

    def drop(self) -> None:
        """Give that memory up."""

    def leave(self) -> None:
        """Move the model to the host."""


def resize(engine: Resizable, slots: int, pressure: Pressure) -> None:
    """Give an engine so many requests in flight, or as many as fit; wait while none may be.

    What does not fit is tried with half of them.
    """
    engine.drop()
    while True:
        while slots:
            if _fits(engine, slots):
                return
            engine.drop()  # only here, where the error and the tensors of its frames are gone
            slots //= 2
        engine.leave()
        while not slots:
            slots = min(pressure(0), engine.most)


def _fits(engine: Resizable, slots: int) -> bool:
    try:
        engine.build(slots)
    except torch.OutOfMemoryError:
        return False
    return True


@contextmanager
def errors_hold_nothing() -> Iterator[None]:
    """Whatever is raised leaves without the variables of the frames that it came through."""
    try:
        yield
    except BaseException as error:
        forget_frames(error)
        raise


def forget_frames(error: BaseException) -> None:
    """Clear the variables of the ended frames that an exception, and what led to it, came through.

    Who keeps an exception to try again would keep their tensors with it.
    """
    linked, seen = [error], set[int]()
    while linked:
        one = linked.pop()
        if id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            linked += [other for other in (one.__cause__, one.__context__) if other is not None]


def finish(device: torch.device) -> None:
    """Wait for what the device computes: memory and graphs in use must not be dropped."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def release(device: torch.device) -> None:
    """Give the memory of dead tensors back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def model_to_host(model: nn.Module, device: torch.device) -> None:
    """Move a model's weights to the host's memory and free the device's.

    Nothing else may hold on to the weights: what `architecture` gave out must be gone.
    """
    model.to("cpu")
    release(device)


def model_to_device(model: Any, device: torch.device) -> None:
    """Move a model's weights to the device, block by block; those already there stay.

    Weights that `architecture` wants side by side are laid so at once, so that never more than one
    block is there twice.
    """
    if all(weight.device == _indexed(device) for weight in model.parameters()):
        return
    for layer in model.model.layers:
        layer.to(device)
        lay_side_by_side(layer)
        release(device)
    model.to(device)


def sae_on(device: torch.device, sae: SaeLayer) -> SaeLayer:
    """An SAE with its tensors on a device; itself if they are there."""
    values = {field.name: getattr(sae, field.name) for field in fields(sae)}
    tensors: dict[str, Any] = {
        n: v.to(device) for n, v in values.items() if isinstance(v, torch.Tensor)
    }
    same = all(tensor is values[name] for name, tensor in tensors.items())
    return sae if same else replace(sae, **tensors)


def _indexed(device: torch.device) -> torch.device:
    """`cuda` is the current of the CUDA devices, which tensors name by its index."""
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device
