"""Which features tell risky decisions from safe ones: Welch's t, Cohen's d, Benjamini-Hochberg.

Risky are decisions of games that end in bankruptcy, safe those of games that end in a voluntary
stop. The rules (|d| >= 0.3, p < .001, BH at .05 over all tested features of all layers) are those
of the original study's valid extraction, with guards it lacked: a group, a firing count and a
variance below a minimum make a feature `not_tested` with its reason instead of a number.

Two things it did not do change what is compared. Equal prompts give equal activations, so that a
prompt which many games share counts once in a group. And the groups differ in balance and round,
which nearly every feature encodes a little; the adjusted numbers (see `adjusted`) stand beside the
plain ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import special

from pitboss.errors import BadInput
from pitboss.saes.false_discovery import benjamini_hochberg
from pitboss.saes.sums import Count, Floats, GroupSums, sums_of_table

_TINY = 1e-290
"""Below this the p value of scipy loses digits, and its logarithm is computed directly."""


class Welch(NamedTuple):
    """Welch's test of a feature array, a minus b; NaN where both variances are 0.

    Attributes:
        d: Cohen's d with the pooled standard deviation.
        t, df: Welch's t and the Welch-Satterthwaite degrees of freedom.
        p: Two-sided p; 0 where a double cannot hold it.
        log_p: Its natural logarithm, finite also where p is 0.
    """

    d: Floats
    t: Floats
    df: Floats
    p: Floats
    log_p: Floats


@dataclass(frozen=True)
class StatisticsRules:
    """When a feature is tested.

    Attributes:
        min_fired: Decisions at which it must have fired in at least one of the groups. One group
            is enough: a feature that fires only before bankruptcies is the most telling of all.
        min_group: Decisions that each group must have.
        min_relative_sd: Smallest pooled standard deviation over the larger mean. Sums of float32
            activations cannot tell a smaller spread from rounding.
    """

    min_fired: int = 10
    min_group: int = 20
    min_relative_sd: float = 1e-6


def welch(a: GroupSums, b: GroupSums) -> Welch:
    """Welch's t test and Cohen's d of each feature, group a minus group b.

    Cohen's d divides by sqrt(((n_a-1) s_a^2 + (n_b-1) s_b^2) / (n_a+n_b-2)).

    Raises:
        BadInput: A group has fewer than two decisions.
    """
    difference = a.mean - b.mean
    share_a, share_b = a.variance / a.n, b.variance / b.n
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(share_a + share_b)
        df = (share_a + share_b) ** 2 / (share_a**2 / (a.n - 1) + share_b**2 / (b.n - 1))
        d = difference / pooled_sd(a, b)
        p = 2.0 * special.stdtr(df, -np.abs(t))
    return Welch(d, t, df, p, log_two_sided(t, df, p))


def pooled_sd(a: GroupSums, b: GroupSums) -> Floats:
    """[f] pooled standard deviation of two groups."""
    summed = (a.n - 1) * a.variance + (b.n - 1) * b.variance
    return np.asarray(np.sqrt(summed / (a.n + b.n - 2)), np.float64)


def log_two_sided(t: Floats, df: Floats, p: Floats) -> Floats:
    """Natural logarithm of the two-sided p of Student's t, also where p underflows.

    There p = I_x(df/2, 1/2) with x = df/(df+t^2) is taken as x^a (1-x)^b / (a B(a,b)) times
    2F1(a+b, 1; a+1; x) (DLMF 8.17.8). The series does not converge for x close to 1, that is for
    more than about 10^5 degrees of freedom; Peizer and Pratt's normal approximation (1968, JASA
    63, 1416-1456) is then right to 1e-4 in the logarithm.
    """
    with np.errstate(all="ignore"):
        x, a, b = df / (df + t * t), df / 2, 0.5
        series = (
            a * np.log(x)
            + b * np.log1p(-x)
            - np.log(a)
            - special.betaln(a, b)
            + np.log(special.hyp2f1(a + b, 1.0, a + 1, x))
        )
        z = np.sqrt(np.log1p(t * t / df) / (df - 5 / 6)) * (df - 2 / 3 + 1 / (10 * df))
        far = np.where(np.isfinite(series), series, np.log(2.0) + special.log_ndtr(-z))
        return np.asarray(np.where(p > _TINY, np.log(p), far), np.float64)


def compare_features(
    sums: Mapping[int, Mapping[str, GroupSums]],
    rules: StatisticsRules,
    *,
    model: str,
    sae: str,
    states: Mapping[int, Mapping[str, GroupSums]] | None = None,
    adjusted: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Tests every feature of every layer, risky minus safe, and corrects over all tested ones.

    The means and standard deviations, and so the values a feature can be patched to, are always
    those over all decisions of a group, unadjusted.

    Args:
        sums: layer -> {"risky": sums, "safe": sums}, over all decisions.
        rules: When a feature is tested.
        model: Model id.
        sae: SAE release id.
        states: The same over distinct states; then these are tested. None: decisions are.
        adjusted: Rows of the kind `adjustments` of the same features, or None.

    Returns:
        One row a feature with the columns of the store's kind `statistics`.

    Raises:
        BadInput: A layer lacks a group, or a group has no decision at all.
    """
    frames = []
    for layer in sorted(sums):
        if set(sums[layer]) != {"risky", "safe"}:
            raise BadInput(f"Layer {layer} has groups {sorted(sums[layer])}, not risky and safe.")
        frames.append(_layer(layer, sums[layer], (states or sums)[layer], rules))
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(0, "model", model)
    frame.insert(1, "sae", sae)
    frame["q"] = benjamini_hochberg(frame["p"].to_numpy(np.float64))
    if adjusted is not None:
        frame = _with_adjusted(frame, adjusted, rules)
    return frame.drop(columns="pooled_sd")


def _with_adjusted(
    frame: pd.DataFrame, adjusted: pd.DataFrame, rules: StatisticsRules
) -> pd.DataFrame:
    """The adjusted difference over the plain pooled sd, so that both d are on one scale."""
    rows = adjusted.set_index(["layer", "feature"]).reindex(
        pd.MultiIndex.from_frame(frame[["layer", "feature"]])
    )
    if rows["difference"].isna().any():
        raise BadInput(f"{int(rows['difference'].isna().sum())} features have no adjusted numbers.")
    enough = rows[["n_risky", "n_safe"]].min(axis=1).to_numpy() >= rules.min_group
    difference, se = (rows[name].to_numpy(np.float64) for name in ("difference", "se"))
    usable = (frame["status"] == "tested").to_numpy() & enough & (se > 0)
    df = rows["df"].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / se
        p = np.where(usable, 2.0 * special.stdtr(df, -np.abs(t)), np.nan)
        d = difference / frame["pooled_sd"].to_numpy()
    found = {"d": d, "t": t, "df": df, "p": p, "log_p": log_two_sided(t, df, p)}
    for name, values in found.items():
        frame[f"{name}_adjusted"] = np.where(usable, values, np.nan)
    frame["q_adjusted"] = benjamini_hochberg(p)
    return frame


def statistics_of_tables(
    sums: pa.Table,
    adjustments: pa.Table | None,
    rules: StatisticsRules,
    *,
    model: str,
    sae: str,
    count: Count,
) -> pd.DataFrame:
    """As `compare_features`, from tables of the kinds `sums` and `adjustments`."""
    return compare_features(
        sums_of_table(sums),
        rules,
        model=model,
        sae=sae,
        states=sums_of_table(sums, "states") if count == "states" else None,
        adjusted=None if adjustments is None else adjustments.to_pandas(),
    )


def _layer(
    layer: int,
    every: Mapping[str, GroupSums],
    counted: Mapping[str, GroupSums],
    rules: StatisticsRules,
) -> pd.DataFrame:
    """One layer's tests of what is counted, beside the means over all decisions."""
    risky, safe = counted["risky"], counted["safe"]
    if min(risky.n, safe.n) < 2:
        raise BadInput(
            f"Layer {layer} has {risky.n} risky and {safe.n} safe decisions; two of each are the "
            "least from which a mean and a variance follow.",
            next="Play more games, or loosen what counts as a group.",
        )
    result = welch(risky, safe)
    reason = _reasons(risky, safe, rules)
    tested = reason == ""

    def where_tested(values: Floats) -> Floats:
        return np.where(tested, values, np.nan)

    return pd.DataFrame(
        {
            "layer": layer,
            "feature": np.arange(len(tested)),
            "status": np.where(tested, "tested", "not_tested"),
            "reason": pd.Series(reason, dtype=object).where(~tested, None),
            "n_risky": every["risky"].n,
            "n_safe": every["safe"].n,
            "counted_risky": risky.n,
            "counted_safe": safe.n,
            "fired_risky": every["risky"].fired,
            "fired_safe": every["safe"].fired,
            "mean_risky": every["risky"].mean,
            "mean_safe": every["safe"].mean,
            "sd_risky": np.sqrt(every["risky"].variance),
            "sd_safe": np.sqrt(every["safe"].variance),
            "pooled_sd": pooled_sd(risky, safe),
            "d": where_tested(result.d),
            "t": where_tested(result.t),
            "df": where_tested(result.df),
            "p": where_tested(result.p),
            "log_p": where_tested(result.log_p),
            "p_underflow": tested & (result.p == 0),
        }
    )


def _reasons(risky: GroupSums, safe: GroupSums, rules: StatisticsRules) -> NDArray[np.object_]:
    reason = np.full(len(risky.total), "", dtype=object)
    larger = np.maximum(np.abs(risky.mean), np.abs(safe.mean))
    sd = pooled_sd(risky, safe)
    reason[(sd == 0) | (sd < rules.min_relative_sd * larger)] = "no_variance"
    reason[np.maximum(risky.fired, safe.fired) < rules.min_fired] = "fired_too_rarely"
    if min(risky.n, safe.n) < rules.min_group:
        reason[:] = "group_too_small"
    return reason
