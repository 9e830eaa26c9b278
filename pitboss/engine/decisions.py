"""What a screening takes and gives: choices that it can tell, and how a first token decides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from pitboss.engine.architecture import Architecture
from pitboss.errors import BadInput

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """How the first token decides, for an array of rows of any shape.

    Attributes:
        choices: Names of the choices.
        log_mass: [..., choices] log Σ exp(logit) over the tokens of each choice.
        log_total: [...] the same over the whole vocabulary, or None where it was not computed.
    """

    choices: tuple[str, ...]
    log_mass: Floats
    log_total: Floats | None

    @property
    def log_p(self) -> Floats:
        """[..., choices] log-probabilities; among the choices alone without `log_total`."""
        total = self.log_total
        return self.log_mass - (_log_sum_exp(self.log_mass) if total is None else total)[..., None]

    @property
    def decided(self) -> Floats | None:
        """[...] probability that the first token is one of any choice; None without `log_total`."""
        return None if self.log_total is None else np.exp(self.log_p).sum(-1)

    def log_odds(self, of: str, against: str) -> Floats:
        """[...] log of the odds of one choice against another."""
        a, b = self.choices.index(of), self.choices.index(against)
        return np.asarray(self.log_mass[..., a] - self.log_mass[..., b])


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """Patched decisions of one layer's features.

    Attributes:
        decisions: Of shape [prompts, values, features].
        unchanged: bool [prompts, values, features]: the change is exactly 0, so the decision is the
            unpatched one and was not computed again.
    """

    decisions: Decisions
    unchanged: NDArray[np.bool_]


def decisions_of(choices: dict[str, int], logits: Floats, others: Floats | None) -> Decisions:
    """Decisions of rows.

    Args:
        choices: How many tokens make each choice.
        logits: [rows, tokens] of all choices' tokens, choice by choice.
        others: [rows] log Σ exp over the other tokens of the vocabulary, or None.
    """
    ends = np.cumsum(list(choices.values()))[:-1]
    parts = np.split(logits, ends, axis=1)
    log_mass = np.stack([_log_sum_exp(part) for part in parts], axis=-1)
    total = None if others is None else np.logaddexp(_log_sum_exp(log_mass), others)
    return Decisions(tuple(choices), log_mass, total)


def screened(
    shape: tuple[int, ...], index: NDArray[np.int64], here: Decisions, clean: Decisions
) -> Screened:
    """Computed rows in their places, the unpatched decision everywhere else.

    Args:
        shape: [prompts, values, features].
        index: [rows] places of the computed rows in the flattened shape.
        here: Of shape [rows].
        clean: Of shape [prompts]; its `log_total` is None where the rows' was not wanted.
    """
    n = len(clean.choices)
    log_mass = np.broadcast_to(clean.log_mass[:, None, None], (*shape, n)).copy()
    log_mass.reshape(-1, n)[index] = here.log_mass
    total = None
    if clean.log_total is not None:
        total = np.broadcast_to(clean.log_total[:, None, None], shape).copy()
        if here.log_total is not None:
            total.reshape(-1)[index] = here.log_total
    unchanged = np.ones(shape, dtype=bool)
    unchanged.reshape(-1)[index] = False
    return Screened(Decisions(clean.choices, log_mass, total), unchanged)


def _log_sum_exp(x: Floats) -> Floats:
    """Over the last axis."""
    top = x.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(x - top).sum(-1)) + top[..., 0])


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
