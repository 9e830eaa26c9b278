"""The statistics of a selection as others read them: values to set features to, and firing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pitboss.experiments.selection.groups import GROUPS
from pitboss.store import Store

if TYPE_CHECKING:
    from pitboss.engine.controls import Firing


def means(store: Store, key: str, names: Sequence[str]) -> dict[int, NDArray[np.float32]]:
    """What every feature can be set to: layer -> float32 [names, features].

    Args:
        key: Content key of the statistics.
        names: Groups, safe or risky.

    Raises:
        Incomplete: The statistics are not there.
    """
    store.coverage("statistics", [key]).require()
    wanted = [f"mean_{name}" for name in names]
    frame = store.read("statistics", [key], columns=["layer", "feature", *wanted]).to_pandas()
    return {
        int(layer): rows.sort_values("feature")[wanted].to_numpy(np.float32).T
        for layer, rows in frame.groupby("layer")
    }


def firing(store: Store, key: str, layer: int) -> "Firing":
    """How a layer's features fire at the games' last decisions: share and mean, over all of them.

    Raises:
        Incomplete: The statistics are not there.
    """
    import torch

    from pitboss.engine.controls import Firing

    groups = sorted(GROUPS.values())
    columns = ["layer", "feature", *(f"{x}_{g}" for x in ("n", "fired", "mean") for g in groups)]
    table = store.read("statistics", [key], columns=columns).to_pandas()
    rows = table[table["layer"] == layer].sort_values("feature")
    n, fired, mean = (
        np.stack([rows[f"{of}_{group}"].to_numpy(np.float64) for group in groups])
        for of in ("n", "fired", "mean")
    )
    total = n.sum(0)
    return Firing(
        torch.from_numpy(fired.sum(0) / total), torch.from_numpy((mean * n).sum(0) / total)
    )
