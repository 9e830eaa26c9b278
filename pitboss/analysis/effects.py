"""Does setting a feature change what is decided? Exact tests per feature, scene and outcome.

1. Count the runs of every arm by state (`outcomes`). A run without a decision enters no rate but
   that of readable runs.
2. Compare the safe value with the risky value (primary), and each with the shared baseline
   (secondary): shares exactly within states (`stratified`; or pair by pair, where the study says
   so), stakes by their ranks within states (`stakes`). The primary contrast is free of whatever
   patching does as such, because both of its arms are patched.
3. Benjamini-Hochberg within each contrast, one family: all patched features, scenes and outcomes.
   A table that no split could make significant (all runs stop, say) is `not_testable` and outside
   the family: its p is 1 whatever the feature does.
4. Controls go through the same tests and are held against the cut-off that the features' family
   gave. They are in no family themselves, so they change no feature's result.
5. An arm with significantly fewer readable runs than the other is flagged: the runs that remain are
   a selection. Its feature counts as causal only if the effect on stopping would stand with every
   undecided run decided against it.

A feature is causal if its primary contrast on stopping is significant in a scene and stands. Other
outcomes have their own significance and make no feature causal.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd

from pitboss.analysis.outcomes import NAME, OUTCOMES, Scene, scenes
from pitboss.analysis.proportions import log_odds_ratio, rate
from pitboss.analysis.stakes import compare_stakes
from pitboss.analysis.stratified import Tables, exact_p, interval
from pitboss.analysis.undecided import mcnemar_p, paired, worst_p, worst_paired_p
from pitboss.errors import BadInput
from pitboss.saes.false_discovery import benjamini_hochberg

CONTRASTS = {
    "safe_vs_risky": ("safe", "risky"),
    "safe_vs_baseline": ("safe", "baseline"),
    "risky_vs_baseline": ("risky", "baseline"),
}
PRIMARY = "safe_vs_risky"
FEATURE = ["layer", "feature"]
DISCOVERY, CONFIRMATION = "discovery", "confirmation"
Test = Literal["fisher", "paired"]
_SHARES = {  # outcome -> events, of which
    "stop": ("stop", "decided"),
    "extreme": ("extreme", "staked"),
    "readable": ("decided", "runs"),
}
_ALIKE = {  # outcome -> reason where no run, and where every run is an event
    "stop": ("every_run_bets", "every_run_stops"),
    "extreme": ("no_bet_is_extreme", "every_bet_is_extreme"),
    "readable": ("no_run_is_readable", "every_run_is_readable"),
}


def effects(
    trials: pd.DataFrame, fdr: float = 0.05, min_runs: int = 5, test: Test = "fisher"
) -> pd.DataFrame:
    """Tests every patched feature and control of the discovery in every scene.

    Args:
        trials: Columns model, role, phase, scene, prompt, arm, layer, feature, trial, decision,
            amount, balance; phases and arms other than those compared are left aside.
        fdr: False discovery rate of the correction.
        min_runs: Runs of which an outcome is that both arms of a contrast must have.
        test: How stopping is tested: `fisher` compares the arms' counts within states, `paired`
            compares runs with the same noise (McNemar's exact test).

    Returns:
        One row a name, scene, contrast and outcome with the columns of the store's kind `effects`.

    Raises:
        BadInput: Several models, an unknown decision, or no patched run at all.
        Incomplete: A feature lacks an arm in a prompt, or a prompt its baseline.
    """
    models = trials["model"].unique()
    if len(models) > 1:
        raise BadInput(f"The trials are of several models: {sorted(models)}.")
    found = trials[trials["phase"] == DISCOVERY]
    prepared = scenes(found, ("safe", "risky", "baseline"))
    frames = []
    for contrast in CONTRASTS:
        rows = [compared(scene, contrast, min_runs, test) for scene in prepared]
        frames.append(_judged(pd.concat(rows, ignore_index=True), contrast, fdr))
    return completed(pd.concat(frames, ignore_index=True), trials["model"])


def completed(frame: pd.DataFrame, models: pd.Series) -> pd.DataFrame:
    """Judged rows of all contrasts with the model, the phase and which features are causal."""
    frame["model"], frame["phase"] = models.iloc[0], DISCOVERY
    features = frame["role"] == "feature"
    causal = frame.loc[counted(frame) & features, FEATURE].drop_duplicates()
    names = pd.MultiIndex.from_frame(frame[FEATURE])
    frame["causal"] = names.isin(pd.MultiIndex.from_frame(causal)) & features
    order = ["role", *FEATURE, "prompt", "contrast", "outcome"]
    return frame.sort_values(order).reset_index(drop=True)


def causal_features(table: pd.DataFrame) -> list[tuple[int, int]]:
    """(layer, feature) of every causal feature of an effects table, ascending."""
    rows = table.loc[table["causal"], FEATURE].drop_duplicates()
    return sorted((int(layer), int(feature)) for layer, feature in rows.itertuples(index=False))


def counted(table: pd.DataFrame) -> pd.Series:
    """Rows of an effects table that make a feature causal, or would if a control were one.

    Significant on stopping, safe against risky value, and standing: no arm is unreadable, or the
    effect would still pass the features' cut-off with every undecided run decided against it.
    """
    primary = table["contrast"] == PRIMARY
    hits = primary & table["significant"]
    cutoff = table.loc[hits & (table["role"] == "feature"), "p"].max()
    stands = table["unreadable_arm"].isna() | (table["p_worst"] <= cutoff)
    return hits & stands & (table["outcome"] == "stop")


def compared(scene: Scene, contrast: str, min_runs: int, test: Test) -> pd.DataFrame:
    """One contrast of a scene: a row a name and outcome, uncorrected."""
    arm_a, arm_b = CONTRASTS[contrast]
    pairs = paired(scene, arm_a, arm_b) if test == "paired" else None
    frames = list(_outcomes(scene, arm_a, arm_b, min_runs, pairs))
    a, b = (scene.counts[arm] for arm in (arm_a, arm_b))
    none_a, none_b = ((x["runs"] - x["decided"]).sum(1) for x in (a, b))
    frame = pd.concat(frames, ignore_index=True)
    tile = len(OUTCOMES)
    for name in NAME:
        frame[name] = np.tile(scene.names[name].to_numpy(), tile)
    frame["none_a"] = np.tile(none_a, tile)
    frame["none_b"] = np.tile(np.broadcast_to(none_b, none_a.shape), tile)
    frame["prompt"], frame["contrast"] = scene.name, contrast
    side = np.where(frame["difference"] > 0, "increases", "decreases")
    named = [
        f"{arm_a}_value_{s}_{outcome}" for s, outcome in zip(side, frame["outcome"], strict=True)
    ]
    direction = pd.Series(named, index=frame.index, dtype=object)
    tested = frame["reason"].isna()
    frame["direction"] = direction.where(tested & (frame["difference"] != 0), None)
    frame["status"] = np.where(tested, "tested", "not_testable")
    frame["e_value"] = np.nan
    return frame


def _outcomes(
    scene: Scene, arm_a: str, arm_b: str, min_runs: int, pairs: pd.DataFrame | None
) -> Iterator[pd.DataFrame]:
    a, b = scene.counts[arm_a], scene.counts[arm_b]
    for outcome, (events, of) in _SHARES.items():
        tables = Tables.of(a[events], a[of], b[events], b[of])
        frame = _share(tables, outcome, min_runs)
        if outcome == "stop":
            undecided = [x["runs"] - x["decided"] for x in (a, b)]
            worst = worst_p(tables, undecided[0], undecided[1], frame["difference"].to_numpy())
            if pairs is not None:
                frame["test"] = "paired"
                worst = worst_paired_p(pairs)
                p = mcnemar_p(pairs["up"].to_numpy(), pairs["down"].to_numpy())
                frame["p"] = np.where(frame["reason"].isna(), p, np.nan)
            frame["p_worst"] = np.where(frame["reason"].isna(), worst, np.nan)
        yield frame
    stakes = compare_stakes(scene, arm_a, arm_b)
    reason = pd.Series(None, index=stakes.index, dtype=object)
    reason[stakes["p"].isna()] = "every_stake_is_the_same"
    reason[stakes[["n_a", "n_b"]].min(axis=1) < min_runs] = "too_few_bets"
    stakes["p"] = stakes["p"].where(reason.isna())
    difference = stakes["value_a"] - stakes["value_b"]
    yield stakes.assign(outcome="stake", reason=reason, difference=difference, test="rank")


def _share(tables: Tables, outcome: str, min_runs: int) -> pd.DataFrame:
    events_a, n_a, events_b, n_b = pooled = tables.pooled()
    value_a, value_b = rate(events_a, n_a), rate(events_b, n_b)
    ends = interval(tables)
    reason = pd.Series(None, index=range(len(n_a)), dtype=object)
    events, runs = events_a + events_b, n_a + n_b
    reason[events == 0], reason[events == runs] = _ALIKE[outcome]
    few = "too_few_decided_runs" if outcome == "stop" else "too_few_runs"
    reason[np.minimum(n_a, n_b) < min_runs] = few
    both = (n_a > 0) & (n_b > 0)
    return pd.DataFrame(
        {
            "outcome": outcome,
            "n_a": n_a,
            "events_a": events_a,
            "n_b": n_b,
            "events_b": events_b,
            "value_a": value_a,
            "value_b": value_b,
            "difference": value_a - value_b,
            "ci_low": ends.low,
            "ci_high": ends.high,
            "log_odds_ratio": np.where(both, log_odds_ratio(*pooled), np.nan),
            "reason": reason,
            "p": np.where(reason.isna(), exact_p(tables), np.nan),
            "test": "stratified" if tables.n_a.shape[1] > 1 else "fisher",
        }
    )


def _judged(frame: pd.DataFrame, contrast: str, fdr: float) -> pd.DataFrame:
    """Corrects one contrast, flags arms that cannot be read, and says what counts."""
    own = (frame["role"] == "feature").to_numpy()
    frame["q"] = np.nan
    frame.loc[own, "q"] = benjamini_hochberg(frame.loc[own, "p"].to_numpy(np.float64))
    cutoff = frame.loc[own & (frame["q"] <= fdr), "p"].max()
    frame["significant"] = (frame["p"] <= cutoff).to_numpy(bool)
    flag_unreadable(frame, CONTRASTS[contrast])
    return frame


def flag_unreadable(frame: pd.DataFrame, arms: tuple[str, str]) -> None:
    """Gives every row the test of its arms' readable runs, and the arm that has fewer of them."""
    key = [*NAME, "prompt"]
    readable = frame.loc[frame["outcome"] == "readable"].set_index(key)
    at = pd.MultiIndex.from_frame(frame[key])
    frame["p_none"] = readable["p"].reindex(at).to_numpy()
    frame["q_none"] = readable["q"].reindex(at).to_numpy()
    fewer_a = (readable["difference"] < 0).reindex(at).to_numpy(bool)
    arm = pd.Series(np.where(fewer_a, *arms), index=frame.index, dtype=object)
    flagged = readable["significant"].reindex(at).to_numpy(bool)
    frame["unreadable_arm"] = arm.where(flagged, None)
