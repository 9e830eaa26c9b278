"""controls.json: what the controls of a patching run say about its count of causal features."""

from typing import Any

import pandas as pd

from pitboss.analysis.findings import (
    expected_false,
    false_positives,
    primary_stops,
    stop_rates,
)
from pitboss.analysis.permutation import permutation_null
from pitboss.errors import Mismatch
from pitboss.experiments.patching.arms import BASELINE
from pitboss.experiments.patching.settings import PatchingSettings


def controls_found(
    settings: PatchingSettings, seed: int, trials: pd.DataFrame, tested: pd.DataFrame
) -> dict[str, Any]:
    """What controls.json holds.

    Args:
        seed: The study's seed.
        trials: All runs of the discovery.
        tested: Their effects.

    Returns:
        false_positive: kind of control -> asked, tested, hits, rate and its interval;
        expected_false, expected_false_high: features that would be counted if all patched ones were
        like the controls; permutation: the count of causal features with permuted labels, at the
        study's own cut-off; own_value: runs, identical; reconstruction: stop rates by layer and
        scene beside the baseline's; baseline: stop rates by scene. Kinds that the study leaves out
        are empty or null.

    Raises:
        Mismatch: A feature set to its own value changed a response; names the first.
    """
    wanted = settings.controls
    asked = {
        "random_feature": wanted.random_features,
        "random_direction": wanted.random_directions,
    }
    shares = false_positives(tested)
    expected = expected_false(tested)
    baseline = trials[trials["role"] == BASELINE]
    plain = {row["scene"]: row["rate"] for row in stop_rates(baseline, ["scene"])}
    whole = stop_rates(trials[trials["role"] == "reconstruction"], ["layer", "scene"])
    return {
        "false_positive": {role: {"asked": asked[role], **share} for role, share in shares.items()},
        "expected_false": None if expected is None else expected[0],
        "expected_false_high": None if expected is None else expected[1],
        "permutation": _permuted(settings, seed, trials, tested),
        "own_value": _own_values(trials),
        "reconstruction": [
            {
                "layer": int(row["layer"]),
                "prompt": row["scene"],
                "stop": row["rate"],
                "low": row["low"],
                "high": row["high"],
                "baseline": plain.get(row["scene"]),
                "n": row["n"],
            }
            for row in whole
        ],
        "baseline": [
            {"prompt": row.pop("scene"), **row} for row in stop_rates(baseline, ["scene"])
        ],
    }


def _permuted(
    settings: PatchingSettings, seed: int, trials: pd.DataFrame, tested: pd.DataFrame
) -> dict[str, float] | None:
    """How many features the study's cut-off would find if the two values were mere labels."""
    hits = primary_stops(tested)
    cutoff = hits.loc[hits["significant"], "p"].max()
    permutations = settings.statistics.permutations
    if not permutations or pd.isna(cutoff) or settings.sequential is not None:
        return None
    null = permutation_null(
        trials,
        cutoff=float(cutoff),
        permutations=permutations,
        seed=seed,
        test=settings.statistics.test,
    )
    return {**null.as_dict(), "cutoff": float(cutoff)}


def _own_values(trials: pd.DataFrame) -> dict[str, int]:
    own = trials[trials["role"] == "own_value"]
    baseline = trials[trials["role"] == BASELINE].set_index("noise")
    columns = ["response", "n_tokens", "finish"]
    expected = baseline.loc[own["noise"], columns].to_numpy()
    same = (own[columns].to_numpy() == expected).all(axis=1)
    if not same.all():
        raise Mismatch(
            f"{int((~same).sum())} of {len(own)} responses changed although a feature was set to "
            "the value it has anyway: the patch does not do what it says.",
            where=f"run {own.loc[~same, 'key'].iloc[0]}",
            next="Do not trust any patched run of this study.",
        )
    return {"runs": len(own), "identical": int(same.sum())}
