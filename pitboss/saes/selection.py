"""Choosing the features to patch: the strongest of each layer that pass every rule."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pitboss.errors import BadInput
from pitboss.saes.plausibility import Implausible, implausible
from pitboss.store import table_of

_ADJUSTED = ["d_adjusted", "p_adjusted", "q_adjusted"]


@dataclass(frozen=True)
class SelectionRules:
    """What a feature must pass. Defaults are the original study's valid extraction.

    Attributes:
        min_abs_d: Least |d|.
        max_p: p must be below this.
        fdr: q (Benjamini-Hochberg over all tested features of all layers) must not exceed this.
        per_layer: At most so many in each layer, the largest |d| first. There may be fewer.
        adjusted: The rules on d, p and q are applied to the adjusted ones.
    """

    min_abs_d: float = 0.3
    max_p: float = 0.001
    fdr: float = 0.05
    per_layer: int = 300
    adjusted: bool = False


@dataclass(frozen=True)
class Selection:
    """Selected features and how the selection went.

    Attributes:
        features: One row a feature with the columns of the store's kind `features`.
        layers: One row a layer: features, tested, passed_unadjusted, passed, selected, asked,
            shortfall, included.
        doubts: Doubtful entries among the selected features.
        rules: The rules applied, as recorded with the features.
    """

    features: pd.DataFrame
    layers: pd.DataFrame
    doubts: list[Implausible]
    rules: dict[str, Any]

    @property
    def ids(self) -> dict[int, list[int]]:
        """layer -> feature ids ascending, as a feature bank is built from."""
        groups = self.features.groupby("layer")["feature"]
        return {int(layer): sorted(map(int, ids)) for layer, ids in groups}

    @property
    def values(self) -> dict[str, dict[tuple[int, int], float]]:
        """ "safe" and "risky" -> (layer, feature) -> value to patch to."""
        names = [(int(r.layer), int(r.feature)) for r in self.features.itertuples()]
        return {
            arm: dict(zip(names, map(float, self.features[arm]), strict=True))
            for arm in ("safe", "risky")
        }

    @property
    def table(self) -> pa.Table:
        """The features as a table of the store."""
        return table_of("features", self.features)

    @property
    def shortfall(self) -> str:
        """Says how many features short of the number asked the selection is, and where."""
        short = self.layers[self.layers["shortfall"] > 0]
        chosen, asked = int(self.layers["selected"].sum()), int(self.layers["asked"].sum())
        if short.empty:
            return f"All {asked:,} features asked for were found."
        each = ", ".join(f"L{row.layer} {row.selected}" for row in short.itertuples())
        return f"{chosen:,} of {asked:,} features asked for pass the rules; fewer in {each}."


def select(
    statistics: pd.DataFrame,
    rules: SelectionRules,
    *,
    include: Mapping[int, Iterable[int]] | None = None,
    thresholds: Mapping[int, float | NDArray[np.floating[Any]]] | None = None,
) -> Selection:
    """Chooses the features of each layer with the largest |d| among those that pass every rule.

    Args:
        statistics: Rows of the kind `statistics`.
        rules: What a feature must pass.
        include: layer -> ids chosen whatever their statistics, beside the others.
        thresholds: layer -> gate threshold, to tell means that no token can have.

    Raises:
        BadInput: An included feature does not exist, or nothing at all was chosen.
    """
    for name in _ADJUSTED:
        statistics = statistics if name in statistics else statistics.assign(**{name: np.nan})
    plain = statistics[_passes(statistics, rules, "")]
    passed = statistics[_passes(statistics, rules, "_adjusted")] if rules.adjusted else plain
    ranked = rank(passed, rules.per_layer, "d_adjusted" if rules.adjusted else "d")
    frame = _with_included(ranked, statistics, include or {})
    if frame.empty:
        raise BadInput(
            "No feature passes the rules: "
            f"{(statistics['status'] == 'tested').sum():,} of {len(statistics):,} were tested.",
            where=f"selection {asdict(rules)}",
            next="Play more games or loosen the rules; the statistics are in the store.",
        )
    features = frame.rename(columns={"mean_safe": "safe", "mean_risky": "risky"})
    features["direction"] = direction(features["d"])
    columns = ["model", "sae", "layer", "feature", "chosen_by", "rank", "safe", "risky"]
    features = features[[*columns, "d", "p", "log_p", "q", *_ADJUSTED, "direction"]]
    features = features.sort_values(["layer", "feature"]).reset_index(drop=True)
    layers = _per_layer(statistics, plain, passed, features, rules)
    return Selection(features, layers, implausible(features, thresholds), asdict(rules))


def _passes(statistics: pd.DataFrame, rules: SelectionRules, which: str) -> pd.Series:
    """Whether each feature passes every rule; `which` ends the columns' names."""
    d, p, q = (statistics[f"{name}{which}"] for name in "dpq")
    tested = statistics["status"] == "tested"
    return tested & (d.abs() >= rules.min_abs_d) & (p < rules.max_p) & (q <= rules.fdr)


def rank(passed: pd.DataFrame, per_layer: int, by: str = "d") -> pd.DataFrame:
    """The largest |d| of each layer with their place; equal |d| are ordered by feature id.

    Args:
        by: Column of the d that counts.
    """
    ordered = passed.assign(size=passed[by].abs()).sort_values(
        ["layer", "size", "feature"], ascending=[True, False, True]
    )
    place = ordered.groupby("layer").cumcount() + 1
    return ordered.assign(rank=place, chosen_by="statistics")[place <= per_layer]


def direction(d: pd.Series) -> pd.Series:
    """higher_in_risky for d > 0, higher_in_safe for d < 0, null where d is."""
    named = np.where(d > 0, "higher_in_risky", "higher_in_safe")
    return pd.Series(named, index=d.index, dtype=object).where(d.notna(), None)


def _with_included(
    ranked: pd.DataFrame, statistics: pd.DataFrame, include: Mapping[int, Iterable[int]]
) -> pd.DataFrame:
    asked = {(int(layer), int(i)) for layer, ids in include.items() for i in ids}
    asked -= set(zip(ranked["layer"], ranked["feature"], strict=True))
    if not asked:
        return ranked
    names = pd.MultiIndex.from_frame(statistics[["layer", "feature"]])
    missing = sorted(asked - set(names))
    if missing:
        layer, feature = missing[0]
        raise BadInput(
            f"{len(missing)} included features have no statistics, first feature {feature} of "
            f"layer {layer}.",
            where="features.include",
            next="Name ids of the SAE's own range, in layers that the study extracts.",
        )
    extra = statistics[names.isin(sorted(asked))].assign(rank=np.nan, chosen_by="included")
    return pd.concat([ranked, extra], ignore_index=True) if len(ranked) else extra


def _per_layer(
    statistics: pd.DataFrame,
    plain: pd.DataFrame,
    passed: pd.DataFrame,
    features: pd.DataFrame,
    rules: SelectionRules,
) -> pd.DataFrame:
    layers = pd.Index(sorted(statistics["layer"].unique()), name="layer")

    def count(rows: pd.DataFrame) -> pd.Series:
        return rows.groupby("layer").size().reindex(layers, fill_value=0)

    frame = pd.DataFrame(
        {
            "features": count(statistics),
            "tested": count(statistics[statistics["status"] == "tested"]),
            "passed_unadjusted": count(plain),
            "passed": count(passed),
            "selected": count(features[features["chosen_by"] == "statistics"]),
            "asked": rules.per_layer,
            "included": count(features[features["chosen_by"] == "included"]),
        }
    )
    return frame.assign(shortfall=frame["asked"] - frame["selected"]).reset_index()
