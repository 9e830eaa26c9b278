"""Residual streams at decisions, taken inside the engine's step, and what SAEs see in them."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from pitboss.engine import EngineConfig, Request, Sampling
from pitboss.errors import Incomplete
from pitboss.experiments.runtime.context import ModelContext
from pitboss.saes.loading import Gate
from pitboss.store import table_of

ENCODED_AT_ONCE = 256
"""Decisions that an SAE encodes at once: 256 x 32,768 float32 activations are 34 MB."""

_CAPTURED_AT_ONCE = 1024  # decisions between which states are laid down in their place
# Host memory for captured states: 3,200 decisions x 31 layers x 4,096 float32 take 1.6 GB. Where
# not all layers fit, the decisions are run once more for each further group of layers.
_STATES_BYTES = 4_000_000_000


def prompt_states(
    context: ModelContext,
    decisions: pd.DataFrame,
    layers: Sequence[int],
    layer: int,
    slots: int | None,
) -> torch.Tensor:
    """One layer's residual stream at the last prompt token, float32 [decisions, d_model].

    One pass takes as many of the layers as fit into memory, and the context remembers them for the
    other layers' units.

    Args:
        decisions: Columns key and prompt_text, one row a decision.
        layers: All layers that will be asked for.
        layer: One of them.
        slots: Rows in flight where memory is short, or None.

    Raises:
        Incomplete: The engine left a decision out.
    """
    layers = _layers_with(layer, layers, len(decisions), context)
    name = (tuple(decisions["key"]), layers)
    states = context.remembered_states(name)
    if states is None:
        context.forget_states()
        states = _captured(context, decisions, layers, slots)
        context.remember_states(name, states)
    return states[:, layers.index(layer)]


def _layers_with(
    layer: int, layers: Sequence[int], decisions: int, context: ModelContext
) -> tuple[int, ...]:
    """The layers whose states are captured in the same pass as this one's."""
    each = decisions * context.loaded.spec.d_model * torch.float32.itemsize
    together = max(1, _STATES_BYTES // max(1, each))
    first = layers.index(layer) // together * together
    return tuple(layers[first : first + together])


def states_by_layer(
    context: ModelContext,
    decisions: pd.DataFrame,
    layers: Sequence[int],
    slots: int | None,
    after: Sequence[int] = (),
) -> Iterator[tuple[int, torch.Tensor]]:
    """Each layer's residual streams, float32 [decisions, d_model], as many layers a pass as fit.

    Args:
        decisions: Columns key and prompt_text, one row a decision.
        after: Tokens that follow each prompt; the states are those at the last of them.

    Raises:
        Incomplete: The engine left a decision out.
    """
    layers = list(layers)
    while layers:
        some = _layers_with(layers[0], layers, len(decisions), context)
        states = _captured(context, decisions, some, slots, after)
        for i, layer in enumerate(some):
            yield layer, states[:, i]
        layers = layers[len(some) :]


def _captured(
    context: ModelContext,
    decisions: pd.DataFrame,
    layers: tuple[int, ...],
    slots: int | None,
    after: Sequence[int] = (),
) -> torch.Tensor:
    """Residual streams at the last token, on the CPU.

    Returns:
        float32 [decisions, layers, d_model].
    """
    one = Sampling(temperature=0, max_new_tokens=1)
    rows = [
        Request(key, (*context.loaded.encode(text), *after), key, one, capture=True)
        for key, text in zip(decisions["key"], decisions["prompt_text"], strict=True)
    ]
    config = EngineConfig(
        width=context.width_of(own_prompts=True),
        prompt_capacity=max(len(row.prompt) for row in rows),
        token_capacity=1,
        slots=slots,
        capture_layers=layers,
    )
    engine = context.engine(config)
    place = {row.key: i for i, row in enumerate(rows)}
    states = torch.empty(len(rows), len(layers), context.loaded.spec.d_model)
    for start in range(0, len(rows), _CAPTURED_AT_ONCE):
        for generation in engine.run(rows[start : start + _CAPTURED_AT_ONCE]):
            if generation.states is None:
                raise Incomplete(f"The engine returned no state of decision {generation.key}.")
            states[place.pop(generation.key)] = generation.states
    context.forget_engine()  # SAEs need its room
    if place:
        raise Incomplete(f"{len(place)} of {len(rows)} decisions have no captured state.")
    return states


def activations_table(
    context: ModelContext, states: dict[str, torch.Tensor], layers: Sequence[int], gate: Gate
) -> pa.Table:
    """Non-zero activations of decisions as a table of kind `activations`.

    Args:
        states: Residual streams by decision key, float32 [layers, d_model].
        layers: The blocks they are of.
    """
    keys = sorted(states)
    frames = []
    for i, layer in enumerate(layers if keys else []):
        sae = context.sae(layer, gate)
        for start in range(0, len(keys), ENCODED_AT_ONCE):
            some = keys[start : start + ENCODED_AT_ONCE]
            x = torch.stack([states[key][i] for key in some]).to(context.loaded.device)
            row, feature, value = (part.cpu().numpy() for part in _fired(sae.encode(x)))
            names = np.array(some, dtype=object)[row]
            frames.append(
                pd.DataFrame(
                    {"decision": names, "layer": layer, "feature": feature, "value": value}
                )
            )
    return table_of("activations", pd.concat(frames) if frames else [])


def _fired(activations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row, column and value of what is not zero, on the device: all else stays there."""
    row, feature = activations.nonzero(as_tuple=True)
    return row, feature, activations[row, feature]
