"""Which features are clamped, and how they are put into units."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from pitboss.saes.bank import FeatureBank

Name = tuple[int, int]  # layer, feature


@dataclass(frozen=True)
class Chunk:
    """The features of a unit; those from the first that are controlled as well."""

    bank: "FeatureBank"
    controlled: frozenset[Name]


def strongest(effects: pd.DataFrame) -> list[Name]:
    """The causal features of an effects table, by the largest difference of their stop rates.

    Where that is the same, by the mean over all scenes.
    """
    mine = effects["causal"] & (effects["contrast"] == "safe_vs_risky")
    for column, value in (("role", "feature"), ("outcome", "stop")):
        if column in effects:
            mine &= effects[column] == value
    size = effects[mine].assign(size=effects["difference"].abs())
    by_size = size.groupby(["layer", "feature"])["size"].agg(["max", "mean"]).reset_index()
    ordered = by_size.sort_values(
        ["max", "mean", "layer", "feature"], ascending=[False, False, True, True]
    )
    return [(int(x), int(i)) for x, i in ordered[["layer", "feature"]].itertuples(index=False)]


def by_layer(names: Sequence[Name], size: int) -> Iterator[tuple[int, list[Name]]]:
    """The place in its layer of each piece's first feature, and at most so many of one layer."""
    for layer in sorted({layer for layer, _ in names}):
        own = [name for name in sorted(names) if name[0] == layer]
        for start in range(0, len(own), size):
            yield start, own[start : start + size]
