"""Was it found again? One-sided exact tests of what the discovery found, on runs of their own.

A feature is asked one question: does its value act as the discovery said, in the scene in which the
discovery saw it most clearly? So a test is one-sided, in the discovery's direction, and there is
one for each candidate. Benjamini-Hochberg runs over the candidates. The runs share neither states
nor noise with those that chose the candidates, so choosing them has not biased what is tested here.
"""

import numpy as np
import pandas as pd
from scipy import stats

from pitboss.analysis.effects import (
    CONFIRMATION,
    CONTRASTS,
    FEATURE,
    PRIMARY,
    Test,
    compared,
    flag_unreadable,
)
from pitboss.analysis.outcomes import Scene, scenes
from pitboss.analysis.proportions import Floats
from pitboss.analysis.stratified import Tables, exact_p
from pitboss.analysis.undecided import paired
from pitboss.errors import Incomplete
from pitboss.saes.false_discovery import benjamini_hochberg

INCREASES = "safe_value_increases_stop"


def confirm(
    trials: pd.DataFrame,
    candidates: pd.DataFrame,
    fdr: float = 0.05,
    min_runs: int = 5,
    test: Test = "fisher",
) -> pd.DataFrame:
    """Tests every candidate in its scene.

    Args:
        trials: The runs of the confirmation, with the columns that `effects` needs.
        candidates: Columns layer, feature, prompt (the scene) and direction, one row each.
        fdr, min_runs, test: As for `effects`.

    Returns:
        Two rows a candidate with the columns of the kind `effects`: the outcome stop, one-sided,
        and readable, two-sided.

    Raises:
        Incomplete: A candidate has no runs, or lacks an arm.
    """
    used = trials[trials["phase"] == CONFIRMATION]
    found = [_scene(one, candidates, min_runs, test) for one in scenes(used, ("safe", "risky"))]
    frame = pd.concat(found, ignore_index=True)
    asked = len(candidates)
    if (frame["outcome"] == "stop").sum() != asked:
        raise Incomplete(
            f"{asked} features are to be confirmed, {(frame['outcome'] == 'stop').sum()} were run.",
            next="Finish the confirmation before its analysis.",
        )
    frame["q"] = np.nan
    for outcome in ("stop", "readable"):
        of_outcome = frame["outcome"] == outcome
        p = frame.loc[of_outcome, "p"].to_numpy(np.float64)
        frame.loc[of_outcome, "q"] = benjamini_hochberg(p)
    frame["significant"] = (frame["q"] <= fdr).to_numpy(bool)
    flag_unreadable(frame, CONTRASTS[PRIMARY])
    model = used["model"].iloc[0]
    frame = frame.assign(model=model, phase=CONFIRMATION, causal=True)
    order = [*FEATURE, "prompt", "outcome"]
    return frame.sort_values(order).reset_index(drop=True)


def _scene(scene: Scene, candidates: pd.DataFrame, min_runs: int, test: Test) -> pd.DataFrame:
    frame = compared(scene, PRIMARY, min_runs, test)
    frame = frame[frame["outcome"].isin(["stop", "readable"])].reset_index(drop=True)
    mine = candidates[candidates["prompt"] == scene.name].set_index(FEATURE)
    at = pd.MultiIndex.from_frame(scene.names[FEATURE])
    up = (mine["direction"].reindex(at) == INCREASES).to_numpy()
    stop = (frame["outcome"] == "stop").to_numpy()
    tested = frame.loc[stop, "reason"].isna().to_numpy()
    p, worst = _paired(scene, up) if test == "paired" else _counts(scene, up)
    frame.loc[stop, "p"] = np.where(tested, p, np.nan)
    frame.loc[stop, "p_worst"] = np.where(tested, worst, np.nan)
    return frame


def _counts(scene: Scene, up: np.ndarray) -> tuple[Floats, Floats]:
    """One-sided p of the counts, and with every undecided run counted against the direction."""
    a, b = scene.counts["safe"], scene.counts["risky"]
    none_a, none_b = a["runs"] - a["decided"], b["runs"] - b["decided"]
    seen = Tables.of(a["stop"], a["decided"], b["stop"], b["decided"])
    against = Tables.of(
        a["stop"] + np.where(up[:, None], 0, none_a),
        a["runs"],
        b["stop"] + np.where(up[:, None], none_b, 0),
        b["runs"],
    )
    return _one_sided(seen, up), _one_sided(against, up)


def _one_sided(tables: Tables, up: np.ndarray) -> Floats:
    return np.where(up, exact_p(tables, "greater"), exact_p(tables, "less"))


def _paired(scene: Scene, up: np.ndarray) -> tuple[Floats, Floats]:
    pairs = paired(scene, "safe", "risky")
    more = np.where(up, pairs["up"], pairs["down"])
    less = np.where(up, pairs["down"], pairs["up"])
    still = np.where(up, pairs["open_down"], pairs["open_up"])
    p = stats.binom.sf(more - 1, more + less, 0.5)
    return p, stats.binom.sf(more - 1, more + less + still, 0.5)
