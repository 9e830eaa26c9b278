"""Effects under a sequential design: e-values of pairs where features stopped, e-BH over them.

Only the primary contrast on stopping is tested, because it alone decided when a feature stopped; a
fixed-sample p of anything else would be taken at a moment that the data chose. Other outcomes and
contrasts are shown with their values and intervals, and have no p.
"""

import numpy as np
import pandas as pd

from pitboss.analysis.effects import CONTRASTS, PRIMARY, compared, completed
from pitboss.analysis.outcomes import Scene, scenes
from pitboss.analysis.sequential import Rule, anytime_p, e_value, e_worst, ebh_q
from pitboss.analysis.undecided import paired

UNTESTED = "sequential_design"


def sequential_effects(trials: pd.DataFrame, rule: Rule, min_runs: int = 5) -> pd.DataFrame:
    """Tests every patched feature and control of a sequential discovery.

    Args:
        trials: As for `effects`; features may have unequal numbers of runs.
        rule: The declared rule.
        min_runs: As for `effects`; it concerns what is shown, not what is tested.

    Returns:
        Rows as `effects` has them. Of the primary contrast on stopping: e_value, p = 1/e, q by e-BH
        over the features (not the controls), p_worst with every undecided pair against the effect.

    Raises:
        BadInput, Incomplete: As for `effects`.
    """
    found = trials[trials["phase"] == "discovery"]
    frames = [
        _contrast(scene, contrast, rule, min_runs)
        for scene in scenes(found, ("safe", "risky", "baseline"))
        for contrast in CONTRASTS
    ]
    frame = pd.concat(frames, ignore_index=True)
    own = ((frame["role"] == "feature") & frame["e_value"].notna()).to_numpy()
    frame["q"] = np.nan
    frame.loc[own, "q"] = ebh_q(frame.loc[own, "e_value"].to_numpy(np.float64))
    kept = own & (frame["q"] <= rule.fdr * (1 + 1e-12)).to_numpy()
    cutoff = frame.loc[kept, "p"].max()
    frame["significant"] = (frame["p"] <= cutoff).to_numpy(bool)
    # An effect that undecided pairs could undo is one of a selection of the runs.
    fewer = np.where(frame["none_a"] > frame["none_b"], "safe", "risky")
    undone = frame["significant"] & (frame["p_worst"] > cutoff)
    frame["unreadable_arm"] = pd.Series(fewer, index=frame.index, dtype=object).where(undone, None)
    frame["p_none"] = frame["q_none"] = np.nan
    return completed(frame, trials["model"])


def _contrast(scene: Scene, contrast: str, rule: Rule, min_runs: int) -> pd.DataFrame:
    frame = compared(scene, contrast, min_runs, "fisher")
    frame[["p", "p_worst"]] = np.nan
    frame["status"], frame["reason"], frame["direction"] = "not_testable", UNTESTED, None
    if contrast != PRIMARY:
        return frame
    pairs = paired(scene, "safe", "risky")
    up, down = pairs["up"].to_numpy(), pairs["down"].to_numpy()
    at = frame.index[frame["outcome"] == "stop"]
    e = np.minimum(e_value(up, down, rule.prior), 1e300)  # a table holds no infinity
    worst = e_worst(up, down, pairs["open_up"], pairs["open_down"], rule.prior)
    frame.loc[at, "e_value"], frame.loc[at, "p"] = e, anytime_p(e)
    frame.loc[at, "p_worst"] = anytime_p(worst)
    frame.loc[at, "status"], frame.loc[at, "reason"] = "tested", None
    frame.loc[at, "test"] = "sequential"
    side = np.where(up > down, "safe_value_increases_stop", "safe_value_decreases_stop")
    named = pd.Series(side, index=at, dtype=object).where(up != down, None)
    frame.loc[at, "direction"] = named
    return frame
