"""Sums over groups of decisions, from which means, variances and tests follow.

Only four numbers a feature and group are kept, so activations can be streamed batch by batch and
layers can be summed on different devices; sums of any split of the decisions merge into the same
numbers up to the rounding of float64.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import ArrayLike, NDArray

from pitboss.errors import BadInput, Mismatch
from pitboss.store import table_of

_FAILED_FORWARD = "A failed forward pass must not be counted; look for the layer it began in."

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Count = Literal["states", "decisions"]
"""What counts as one observation: a distinct prompt of the group, or every decision."""

_COLUMNS: dict[Count, tuple[str, str, str, str]] = {
    "decisions": ("n", "total", "total_squared", "fired"),
    "states": ("states", "states_total", "states_squared", "states_fired"),
}


@dataclass(frozen=True)
class GroupSums:
    """Sums of the activations of f features over the n decisions of one group.

    Attributes:
        n: Decisions summed.
        total: [f] float64, sum of activations.
        total_squared: [f] float64, sum of squared activations.
        fired: [f] int64, decisions at which the feature was above 0.
    """

    n: int
    total: Floats
    total_squared: Floats
    fired: Ints

    @classmethod
    def empty(cls, features: int) -> "GroupSums":
        """Sums over no decision yet."""
        return cls(0, np.zeros(features), np.zeros(features), np.zeros(features, np.int64))

    @classmethod
    def of(cls, values: ArrayLike) -> "GroupSums":
        """Sums over the rows of [n, f] activations.

        Raises:
            BadInput: The array is not two-dimensional or holds NaN or infinity.
        """
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 2:
            raise BadInput(f"Activations must be [decisions, features], not {array.shape}.")
        _require_finite(array)
        return cls(
            len(array),
            array.sum(axis=0),
            np.einsum("nf,nf->f", array, array),
            (array > 0).sum(axis=0).astype(np.int64),
        )

    @classmethod
    def of_sparse(cls, n: int, features: int, index: ArrayLike, values: ArrayLike) -> "GroupSums":
        """Sums over n decisions given only the non-zero activations.

        Args:
            n: Decisions, those at which nothing fired included.
            features: Number of features f.
            index: [m] feature of each non-zero activation.
            values: [m] its activation.
        """
        which, array = np.asarray(index, np.int64), np.asarray(values, np.float64)
        _require_finite(array)
        if len(which) and not 0 <= which.min() <= which.max() < features:
            raise BadInput(f"Feature ids must lie in 0..{features - 1}.")
        return cls(
            n,
            np.bincount(which, array, features).astype(np.float64),
            np.bincount(which, array * array, features).astype(np.float64),
            np.bincount(which[array > 0], minlength=features).astype(np.int64),
        )

    def __add__(self, other: "GroupSums") -> "GroupSums":
        """Sums over the decisions of both. Raises Mismatch when the features differ in number."""
        if len(self.total) != len(other.total):
            raise Mismatch(
                f"Sums over {len(self.total)} and {len(other.total)} features cannot be added."
            )
        return GroupSums(
            self.n + other.n,
            self.total + other.total,
            self.total_squared + other.total_squared,
            self.fired + other.fired,
        )

    @property
    def mean(self) -> Floats:
        """[f] mean activation, zeros included. Raises BadInput for an empty group."""
        self._require(1)
        return self.total / self.n

    @property
    def variance(self) -> Floats:
        """[f] sample variance (n - 1). Raises BadInput for fewer than two decisions."""
        self._require(2)
        spread = self.total_squared - self.total * self.total / self.n
        return np.maximum(spread, 0.0) / (self.n - 1)

    def _require(self, least: int) -> None:
        if self.n < least:
            raise BadInput(f"The group has {self.n} decisions; {least} are needed.")


class RunningSums:
    """Sums over one group's decisions, added up where the activations are computed.

    Batches of activations come and go on the device; only four numbers a feature ever leave it.
    They are added in float64, in the order of the batches: on the CPU the same batches give the
    same bits.

    Args:
        features: Number of features f.
        device: Where the activations are.
    """

    def __init__(self, features: int, device: str | torch.device = "cpu") -> None:
        self._n = 0
        self._total = torch.zeros(features, dtype=torch.float64, device=device)
        self._squared = torch.zeros_like(self._total)
        self._fired = torch.zeros(features, dtype=torch.int64, device=device)

    def add(self, activations: torch.Tensor, times: torch.Tensor | None = None) -> None:
        """Add the rows of [n, f] activations.

        Args:
            times: int64 [n], how many decisions each row stands for; one if None.
        """
        exact, fired = activations.double(), activations > 0
        if times is None:
            times = torch.ones(len(exact), dtype=torch.int64, device=exact.device)
        weight = times.double()[:, None]
        self._n += int(times.sum())
        self._total += (weight * exact).sum(0)
        self._squared += exact.square().mul_(weight).sum(0)
        self._fired += (times[:, None] * fired).sum(0)

    def result(self) -> GroupSums:
        """The sums so far, on the host. Raises BadInput when an activation was NaN or infinite."""
        found = [part.cpu().numpy() for part in (self._total, self._squared, self._fired)]
        # float64 holds the square of any float32, so only what was not finite gives such a sum.
        wrong = int(np.size(found[1]) - np.isfinite(found[1]).sum())
        if wrong:
            raise BadInput(
                f"{wrong} of {len(found[1])} features have activations that are NaN or infinite.",
                next=_FAILED_FORWARD,
            )
        return GroupSums(self._n, *found)


def sums_table(
    model: str, layer: int, groups: Mapping[str, GroupSums], states: Mapping[str, GroupSums]
) -> pa.Table:
    """One layer's sums as a table of kind `sums`; groups are named risky and safe.

    Args:
        groups: Sums over every decision of each group.
        states: The same with equal prompts counted once in each group.
    """
    frames = [
        pd.DataFrame(
            {
                "model": model,
                "layer": layer,
                "feature": np.arange(len(sums.total)),
                "group": group,
                "n": sums.n,
                "total": sums.total,
                "total_squared": sums.total_squared,
                "fired": sums.fired,
                "states": states[group].n,
                "states_total": states[group].total,
                "states_squared": states[group].total_squared,
                "states_fired": states[group].fired,
            }
        )
        for group, sums in groups.items()
    ]
    return table_of("sums", pd.concat(frames, ignore_index=True))


def sums_of_table(table: pa.Table, count: Count = "decisions") -> dict[int, dict[str, GroupSums]]:
    """The sums back from tables of kind `sums`: layer -> group -> sums.

    Args:
        count: Sums over every decision, or over distinct states.

    Raises:
        BadInput: The table mixes models, or a layer lacks features.
    """
    frame = table.to_pandas()
    if frame["model"].nunique() > 1:
        raise BadInput(f"The sums are of several models: {sorted(frame['model'].unique())}.")
    n, total, squared, fired = _COLUMNS[count]
    found: dict[int, dict[str, GroupSums]] = {}
    for (layer, group), rows in frame.groupby(["layer", "group"], sort=True):
        ordered = rows.sort_values("feature")
        if not np.array_equal(ordered["feature"], np.arange(len(ordered))):
            raise BadInput(f"The sums of layer {layer}, group {group}, lack features.")
        found.setdefault(int(layer), {})[str(group)] = GroupSums(
            int(ordered[n].iloc[0]),
            ordered[total].to_numpy(np.float64),
            ordered[squared].to_numpy(np.float64),
            ordered[fired].to_numpy(np.int64),
        )
    return found


def merged(parts: Iterable[GroupSums]) -> GroupSums:
    """Adds up sums in the order given. Raises BadInput when there are none."""
    total: GroupSums | None = None
    for part in parts:
        total = part if total is None else total + part
    if total is None:
        raise BadInput("There are no sums to add up.")
    return total


def _require_finite(array: Floats) -> None:
    bad = int(np.size(array) - np.isfinite(array).sum())
    if bad:
        raise BadInput(
            f"{bad} of {array.size} activations are NaN or infinite.",
            next=_FAILED_FORWARD,
        )
