"""Does setting a feature change the decision? Exact tests per feature and prompt.

1. Count stops among decided runs for each prompt, feature and arm; undecided runs are counted
   beside them and enter no rate.
2. Fisher's exact test of the safe value against the risky value (primary) and of each against the
   shared baseline (secondary). The primary contrast is free of whatever patching does as such,
   because both of its arms are patched.
3. Benjamini-Hochberg over all features and prompts, within each contrast. A table that no split of
   its stops could make significant (all runs stop, or all bet) is `not_testable` and outside the
   correction: its p is 1 whatever the feature does.
4. An arm with significantly more undecided runs than the other is flagged: the runs that remain are
   a selection. Its feature counts as causal only if the effect would stand with every undecided run
   decided against it.
"""

import numpy as np
import pandas as pd

from pitboss.analysis.proportions import fisher_p, log_odds_ratio, newcombe, rate
from pitboss.errors import BadInput, Incomplete
from pitboss.saes.statistics import benjamini_hochberg

CONTRASTS = {
    "safe_vs_risky": ("safe", "risky"),
    "safe_vs_baseline": ("safe", "baseline"),
    "risky_vs_baseline": ("risky", "baseline"),
}
PRIMARY = "safe_vs_risky"
DECISIONS = ("bet", "stop", "none")
FEATURE = ["layer", "feature"]


def effects(trials: pd.DataFrame, fdr: float = 0.05, min_decided: int = 5) -> pd.DataFrame:
    """Tests every patched feature in every prompt.

    Args:
        trials: Columns model, prompt, arm, layer, feature, decision; arms other than baseline, safe
            and risky are left aside.
        fdr: False discovery rate of the correction.
        min_decided: Decided runs that both arms of a contrast must have.

    Returns:
        One row a feature, prompt and contrast with the columns of the store's kind `effects`.

    Raises:
        BadInput: Several models, an unknown decision, or no patched run at all.
        Incomplete: A feature lacks an arm in a prompt, or a prompt its baseline.
    """
    counts = count_decisions(trials)
    models = trials["model"].unique()
    if len(models) != 1:
        raise BadInput(f"The trials are of several models: {sorted(models)}.")
    frames = [_contrast(counts, name, fdr, min_decided) for name in CONTRASTS]
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(0, "model", models[0])
    causal = frame.loc[frame.pop("counts"), FEATURE].drop_duplicates()
    names = pd.MultiIndex.from_frame(frame[FEATURE])
    frame["causal"] = names.isin(pd.MultiIndex.from_frame(causal))
    return frame.sort_values([*FEATURE, "prompt", "contrast"]).reset_index(drop=True)


def causal_features(table: pd.DataFrame) -> list[tuple[int, int]]:
    """(layer, feature) of every causal feature of an effects table, ascending."""
    rows = table.loc[table["causal"], FEATURE].drop_duplicates()
    return sorted((int(layer), int(feature)) for layer, feature in rows.itertuples(index=False))


def count_decisions(trials: pd.DataFrame) -> pd.DataFrame:
    """Counts bet, stop and none per prompt, arm, layer and feature; baseline rows have layer -1."""
    unknown = sorted(set(trials["decision"]) - set(DECISIONS))
    if unknown:
        raise BadInput(f"Unknown decisions {unknown}; known are {', '.join(DECISIONS)}.")
    arms = {arm for pair in CONTRASTS.values() for arm in pair}
    used = trials[trials["arm"].isin(sorted(arms))]
    if not (used["arm"] != "baseline").any():
        raise BadInput("The trials hold no run patched to a safe or risky value.")
    keyed = used[["prompt", "arm", *FEATURE, "decision"]].assign(
        layer=used["layer"].fillna(-1).astype(np.int64),
        feature=used["feature"].fillna(-1).astype(np.int64),
    )
    counts = keyed.groupby(["prompt", "arm", *FEATURE, "decision"]).size().unstack(fill_value=0)
    return counts.reindex(columns=list(DECISIONS), fill_value=0).reset_index()


def _contrast(counts: pd.DataFrame, contrast: str, fdr: float, min_decided: int) -> pd.DataFrame:
    frame = _paired(counts, contrast)
    frame["contrast"] = contrast
    stop_a, n_a, stop_b, n_b = (frame[c] for c in ("stop_a", "decided_a", "stop_b", "decided_b"))
    frame["rate_a"], frame["rate_b"] = rate(stop_a, n_a), rate(stop_b, n_b)
    frame["difference"] = frame["rate_a"] - frame["rate_b"]
    frame["ci_low"], frame["ci_high"] = newcombe(stop_a, n_a, stop_b, n_b)
    both = (n_a > 0) & (n_b > 0)
    frame["log_odds_ratio"] = np.where(both, log_odds_ratio(stop_a, n_a, stop_b, n_b), np.nan)
    frame["reason"] = _reasons(frame, min_decided)
    testable = frame["reason"].isna()
    frame["status"] = np.where(testable, "tested", "not_testable")
    frame["p"] = np.where(testable, fisher_p(stop_a, n_a, stop_b, n_b), np.nan)
    frame["q"] = benjamini_hochberg(frame["p"].to_numpy(np.float64))
    frame["significant"] = frame["q"] <= fdr
    arm = CONTRASTS[contrast][0]
    side = np.where(frame["difference"] > 0, "increases", "decreases")
    named = pd.Series([f"{arm}_value_{s}_stop" for s in side], index=frame.index, dtype=object)
    frame["direction"] = named.where(testable & (frame["difference"] != 0), None)
    _undecided(frame, contrast, fdr)
    frame["p_worst"] = np.where(testable, _worst(frame), np.nan)
    cutoff = frame.loc[frame["significant"], "p"].max()
    stands = frame["unreadable_arm"].isna() | (frame["p_worst"] <= cutoff)
    frame["counts"] = frame["significant"] & stands & (contrast == PRIMARY)
    return frame


def _paired(counts: pd.DataFrame, contrast: str) -> pd.DataFrame:
    arm_a, arm_b = CONTRASTS[contrast]
    a, b = (_arm(counts, arm, end) for arm, end in ((arm_a, "a"), (arm_b, "b")))
    if arm_b == "baseline":
        joined = a.merge(b.drop(columns=FEATURE), on="prompt", how="left", indicator=True)
    else:
        joined = a.merge(b, on=["prompt", *FEATURE], how="outer", indicator=True)
    alone = joined[joined["_merge"] != "both"]
    if len(alone):
        first = alone.iloc[0]
        missing = arm_b if first["_merge"] == "left_only" else arm_a
        raise Incomplete(
            f"{len(alone)} features and prompts lack an arm of {contrast}; first: feature "
            f"{first['feature']} of layer {first['layer']} has no {missing!r} run of "
            f"prompt {first['prompt']!r}.",
            next="Finish the patching before its analysis.",
        )
    return joined.drop(columns="_merge")


def _arm(counts: pd.DataFrame, arm: str, end: str) -> pd.DataFrame:
    rows = counts[counts["arm"] == arm]
    return pd.DataFrame(
        {
            "prompt": rows["prompt"],
            "layer": rows["layer"],
            "feature": rows["feature"],
            f"decided_{end}": rows["bet"] + rows["stop"],
            f"stop_{end}": rows["stop"],
            f"none_{end}": rows["none"],
        }
    )


def _reasons(frame: pd.DataFrame, min_decided: int) -> pd.Series:
    stops, decided = frame["stop_a"] + frame["stop_b"], frame["decided_a"] + frame["decided_b"]
    reason = pd.Series(None, index=frame.index, dtype=object)
    reason[stops == 0] = "every_run_bets"
    reason[stops == decided] = "every_run_stops"
    reason[frame[["decided_a", "decided_b"]].min(axis=1) < min_decided] = "too_few_decided_runs"
    return reason


def _undecided(frame: pd.DataFrame, contrast: str, fdr: float) -> None:
    """Flags the arm in which significantly more runs have no decision."""
    total_a, total_b = frame["decided_a"] + frame["none_a"], frame["decided_b"] + frame["none_b"]
    same = (frame["none_a"] + frame["none_b"] == 0) | (frame["decided_a"] + frame["decided_b"] == 0)
    p = np.where(same, np.nan, fisher_p(frame["none_a"], total_a, frame["none_b"], total_b))
    frame["p_none"], frame["q_none"] = p, benjamini_hochberg(p)
    more_a = frame["none_a"] / total_a > frame["none_b"] / total_b
    arm_a, arm_b = CONTRASTS[contrast]
    arm = pd.Series(np.where(more_a, arm_a, arm_b), index=frame.index, dtype=object)
    frame["unreadable_arm"] = arm.where(frame["q_none"] <= fdr, None)


def _worst(frame: pd.DataFrame) -> np.ndarray:
    """Fisher's p with every undecided run counted against the observed difference."""
    up = frame["difference"] > 0
    n_a, n_b = frame["decided_a"] + frame["none_a"], frame["decided_b"] + frame["none_b"]
    stop_a = frame["stop_a"] + np.where(up, 0, frame["none_a"])
    stop_b = frame["stop_b"] + np.where(up, frame["none_b"], 0)
    left = rate(stop_a, n_a) - rate(stop_b, n_b)
    gone = np.where(up, left <= 0, left >= 0)
    return np.where(gone, 1.0, fisher_p(stop_a, n_a, stop_b, n_b))
