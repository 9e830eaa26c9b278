"""Runs of two arms, matched trial by trial: the raw material of paired tests.

Trial t of a prompt has the same noise in every arm, so a pair differs by the patched value alone.
Where a value has no effect on stopping, a pair of opposite decisions is as likely in the one
direction as in the other: a fair coin, however often both arms decide alike.
"""

import numpy as np
import pandas as pd

from pitboss.errors import BadInput, Incomplete

COUNTS = ("up", "down", "same", "open_up", "open_down", "undecided")


def count_pairs(
    trials: pd.DataFrame, by: list[str], arms: tuple[str, str] = ("safe", "risky")
) -> pd.DataFrame:
    """Counts pairs of decisions of two arms.

    Args:
        trials: Columns arm, prompt, trial, decision (bet, stop or none) and those of `by`; other
            arms are left aside.
        by: What a row of the result is, such as ["layer", "feature", "scene"]; the prompts inside
            are pooled. Missing values count as one group of their own.
        arms: Names of the first and the second arm.

    Returns:
        One row a group: `by`, then

        up: The first arm stops, the second bets.
        down: The first arm bets, the second stops.
        same: Both bet or both stop.
        open_up, open_down: Pairs with at least one undecided run that could be `up` or `down`.
        undecided: Pairs with at least one undecided run; they are in none of up, down and same.

    Raises:
        BadInput: No run of these arms, an unknown decision, or two runs of one arm with the same
            noise.
        Incomplete: A run has no partner with its noise.
    """
    used = trials[trials["arm"].isin(arms)]
    if not len(used):
        raise BadInput(f"The trials hold no run of {arms[0]} or {arms[1]}.")
    unknown = sorted(set(used["decision"]) - {"bet", "stop", "none"})
    if unknown:
        raise BadInput(f"Unknown decisions {unknown}; known are bet, stop, none.")
    pair = [*by, *(column for column in ("prompt", "trial") if column not in by)]
    first, second = (used.loc[used["arm"] == arm, [*pair, "decision"]] for arm in arms)
    twice = [half for half in (first, second) if half.duplicated(pair).any()]
    if twice:
        again = twice[0][twice[0].duplicated(pair)].iloc[0]
        raise BadInput(f"Two runs of one arm share their noise: {again[pair].to_dict()}.")
    both = first.merge(second, on=pair, how="outer", suffixes=("_a", "_b"), indicator=True)
    alone = both[both["_merge"] != "both"]
    if len(alone):
        raise Incomplete(
            f"{len(alone)} runs of {arms[0]} and {arms[1]} have no partner with the same noise; "
            f"first: {alone.iloc[0][pair].to_dict()}.",
            next="Finish the patching before its analysis.",
        )
    a, b = both["decision_a"].to_numpy(), both["decision_b"].to_numpy()
    stop_a, bet_a, stop_b, bet_b = a == "stop", a == "bet", b == "stop", b == "bet"
    undecided = (a == "none") | (b == "none")
    counts = {
        "up": stop_a & bet_b,
        "down": bet_a & stop_b,
        "same": (a == b) & ~undecided,
        "open_up": undecided & ~bet_a & ~stop_b,
        "open_down": undecided & ~stop_a & ~bet_b,
        "undecided": undecided,
    }
    frame = both[by].assign(**{name: column.astype(np.int64) for name, column in counts.items()})
    if not by:
        return frame.sum().to_frame().T
    return frame.groupby(by, dropna=False, sort=True).sum().reset_index()
