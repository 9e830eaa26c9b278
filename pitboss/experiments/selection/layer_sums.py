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

from pitboss.experiments.runtime.states import ENCODED_AT_ONCE
from pitboss.experiments.selection.groups import GROUPS
from pitboss.saes.adjusted import Adjusted, Design, RunningAdjusted
from pitboss.saes.loading import SaeLayer
from pitboss.saes.sums import GroupSums, RunningSums


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
