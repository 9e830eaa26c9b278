"""One layer's activations, summed over the decisions of each group of games.

A state that several decisions share is encoded once and counted as often as it occurs; beside these
sums are those in which it counts once, and, where the study adjusts, the adjusted comparison's.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.states import ENCODED_AT_ONCE, prompt_states
from pitboss.experiments.runtime.unit import Outcome, Rows
from pitboss.experiments.selection.comparison import adjustments_table, design
from pitboss.experiments.selection.groups import GROUPS, distinct_states
from pitboss.experiments.selection.settings import SelectionSettings
from pitboss.models.checks import check_reconstruction, require
from pitboss.saes.adjusted import Adjusted, Design, RunningAdjusted
from pitboss.saes.loading import SaeLayer
from pitboss.saes.sums import GroupSums, RunningSums, sums_table


def sum_layer(
    context: ModelContext,
    settings: SelectionSettings,
    decisions: pd.DataFrame,
    layer: int,
    slots: int | None = None,
) -> Outcome:
    """Sum one layer's activations over the decisions of each group; decisions at one prompt once.

    Args:
        decisions: As of `pitboss.experiments.selection.groups.last_decisions`.

    Raises:
        BadInput: The groups cannot be compared, or the SAE does not reconstruct its layer.
    """
    distinct = distinct_states(decisions)
    comparison = design(settings, distinct)  # refused, if it has to be, before anything is computed
    states = prompt_states(context, distinct, settings.layers, layer, slots)
    sae = context.sae(layer, settings.gate, keep=False)  # used here and nowhere else
    texts = list(decisions["prompt_text"])
    require(check_reconstruction(context.loaded, [sae], texts, settings.max_unexplained))
    found, model = summed(sae, states, distinct, comparison), context.loaded.spec.id
    tables: dict[str, Rows] = {"sums": sums_table(model, layer, found.groups, found.states)}
    if comparison is not None and found.adjusted is not None:
        tables["adjustments"] = adjustments_table(
            settings, model, layer, comparison, found.adjusted
        )
    return Outcome(
        tables,
        {
            "device": str(context.loaded.device),
            "decisions": len(decisions),
            "states": len(distinct),
        },
    )


class Summed(NamedTuple):
    """Sums by group over all decisions, the same over distinct states, and the adjusted ones."""

    groups: dict[str, GroupSums]
    states: dict[str, GroupSums]
    adjusted: Adjusted | None


def summed(
    sae: SaeLayer, states: torch.Tensor, distinct: pd.DataFrame, comparison: Design | None
) -> Summed:
    """One layer's sums over residual streams [states, d_model], on the SAE's device."""
    device, features = sae.W_enc.device, sae.W_enc.shape[1]
    times = {name: torch.tensor(distinct[name].to_numpy(np.int64)) for name in GROUPS.values()}
    every = {name: RunningSums(features, device) for name in times}
    once = {name: RunningSums(features, device) for name in times}
    adjusted = None if comparison is None else RunningAdjusted(comparison, features, device)
    for batch in _batches(comparison, len(distinct)):
        activations = sae.encode(states[torch.from_numpy(batch)].to(device))
        for name, of_group in times.items():
            here = of_group[torch.from_numpy(batch)].to(device)
            every[name].add(activations, here)
            once[name].add(activations, here.clamp(max=1))
        if adjusted is not None:
            adjusted.add(batch, activations)
    return Summed(
        {name: sums.result() for name, sums in every.items()},
        {name: sums.result() for name, sums in once.items()},
        None if adjusted is None else adjusted.result(),
    )


def _batches(comparison: Design | None, states: int) -> Iterable[NDArray[np.int64]]:
    if comparison is not None:
        return comparison.batches(ENCODED_AT_ONCE)
    return np.array_split(np.arange(states), range(ENCODED_AT_ONCE, states, ENCODED_AT_ONCE))
