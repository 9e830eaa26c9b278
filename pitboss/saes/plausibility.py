"""Feature statistics that a reader should doubt, said out loud instead of passed on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LARGE_D = 5.0
"""|d| beyond which group means are over five standard deviations apart: rather a rare event
counted in one group, or other tokens, than an effect."""


class Implausible(NamedTuple):
    """One kind of doubtful entry.

    Attributes:
        rule: Short name: p_zero, large_d, negative_mean, outside_gate, sign,
            adjusted_sign, equal_values.
        what: What is wrong and what is done about it, in a sentence.
        entries: How many entries are concerned.
        examples: Up to three of them, as {layer, feature, ...}.
    """

    rule: str
    what: str
    entries: int
    examples: tuple[dict[str, Any], ...]


def implausible(
    frame: pd.DataFrame, thresholds: Mapping[int, float | NDArray[np.floating[Any]]] | None = None
) -> list[Implausible]:
    """Lists the doubtful entries of a feature table.

    Args:
        frame: Columns layer, feature, d, p, safe, risky (d and p may be NaN: not tested).
        thresholds: layer -> gate threshold, one for all features or one each ([d_sae]). A gated
            activation is 0 or above it.
    """
    low = frame[["safe", "risky"]].min(axis=1)
    adjusted = frame.get("d_adjusted", pd.Series(np.nan, index=frame.index))
    rules = [
        (
            "p_zero",
            frame["p"] == 0,
            "p is exactly 0: smaller than a double holds. Such entries are not tied; "
            "they are ordered by |d|, never by p.",
        ),
        (
            "large_d",
            frame["d"].abs() > LARGE_D,
            f"|d| is over {LARGE_D:g}: the groups may differ in tokens or state rather than in "
            "the decision. Kept as given; check them before reading their rank.",
        ),
        (
            "negative_mean",
            low < 0,
            "A mean is negative, which no gated activation can be: other space or sign.",
        ),
        (
            "outside_gate",
            _outside(frame, thresholds or {}),
            "A mean lies between 0 and the gate's threshold: the feature is mostly silent, and no "
            "single token can have this activation. Patching to it leaves the SAE's range.",
        ),
        (
            "sign",
            (frame["d"] * (frame["risky"] - frame["safe"])) < 0,
            "d and the difference of the means (risky minus safe) have opposite signs.",
        ),
        (
            "adjusted_sign",
            frame["d"] * adjusted < 0,
            "At equal balance and round the difference turns round: the safe value is on the side "
            "of bankruptcies, and the other way about.",
        ),
        (
            "equal_values",
            frame["safe"] == frame["risky"],
            "The safe and the risky value are equal: patching cannot tell them apart.",
        ),
    ]
    return [
        Implausible(rule, what, int(hit.sum()), _examples(frame[hit]))
        for rule, hit, what in rules
        if hit.any()
    ]


def _outside(
    frame: pd.DataFrame, thresholds: Mapping[int, float | NDArray[np.floating[Any]]]
) -> pd.Series:
    limit = np.zeros(len(frame))
    for layer, threshold in thresholds.items():
        rows = (frame["layer"] == layer).to_numpy()
        ids = frame["feature"].to_numpy()[rows]
        limit[rows] = threshold if np.ndim(threshold) == 0 else np.asarray(threshold)[ids]
    values = frame[["safe", "risky"]].to_numpy(np.float64)
    inside = (values > 0) & (values <= limit[:, None])
    return pd.Series(inside.any(axis=1), index=frame.index)


def _examples(rows: pd.DataFrame) -> tuple[dict[str, Any], ...]:
    shown = rows[["layer", "feature", "d", "p", "safe", "risky"]].head(3)
    return tuple(
        {
            "layer": int(row.layer),
            "feature": int(row.feature),
            **{
                name: None if pd.isna(value := getattr(row, name)) else float(value)
                for name in ("d", "p", "safe", "risky")
            },
        }
        for row in shown.itertuples()
    )
