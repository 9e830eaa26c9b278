"""What a screening refuses."""

from collections.abc import Mapping, Sequence

import torch

from pitboss.engine.architecture import Architecture
from pitboss.errors import BadInput


def check_screen(
    width: int,
    prompts: Sequence[tuple[int, ...]],
    choices: Mapping[str, Sequence[int]],
    vocab: int,
) -> None:
    """Raise BadInput if there is nothing to screen, or a choice cannot be told; see `Screen`."""
    tokens = [token for of_choice in choices.values() for token in of_choice]
    if width < 1:
        raise BadInput(f"a screening needs a width of 1 or more, not {width}")
    if not prompts or not all(prompts):
        raise BadInput("a screening needs at least one prompt, and each at least one token")
    if len(choices) < 2 or not all(len(of_choice) for of_choice in choices.values()):
        raise BadInput(f"a screening needs two choices or more, each with tokens, not {choices}")
    if len(set(tokens)) < len(tokens) or not all(0 <= token < vocab for token in tokens):
        raise BadInput(
            f"the choices' tokens must differ and lie below the vocabulary's {vocab}: {choices}"
        )


def check_change(
    arch: Architecture, prompts: int, layer: int, dec: torch.Tensor, change: torch.Tensor
) -> None:
    """Raise BadInput if these changes cannot be made at this layer; see `Screen.run`."""
    blocks, d_model = len(arch.blocks), arch.d_model
    if not 0 <= layer < blocks:
        raise BadInput(f"layer {layer} does not exist in a model of {blocks} blocks")
    if dec.dim() != 2 or dec.shape[1] != d_model:
        raise BadInput(f"decoder rows must be [features, {d_model}], not {tuple(dec.shape)}")
    wanted = (prompts, len(dec))
    if change.dim() != 3 or (change.shape[0], change.shape[2]) != wanted:
        raise BadInput(
            f"changes must be [{wanted[0]} prompts, values, {wanted[1]} features], not "
            f"{tuple(change.shape)}"
        )
