"""Runs turned into counts: by patched feature or control, state and arm.

Four outcomes are compared. Of every run: whether it can be read. Of decided runs: whether they
stop. Of bets whose stake is known: the stake as a share of what the player owns, and whether it is
at least half of it. Nothing is filled in: a bet without a stake counts as a bet and for no stake.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pitboss.errors import BadInput, Incomplete

OUTCOMES = ("stop", "stake", "extreme", "readable")
ROLES = ("feature", "random_feature", "random_direction")
DECISIONS = ("bet", "stop", "none")
NAME = ["role", "layer", "feature"]
EXTREME = 0.5


class Scene(NamedTuple):
    """The runs of one scene, a prompt or a set of states, ready for tests.

    Attributes:
        name: The scene.
        names: Patched features and controls: role, layer, feature; one row each.
        states: Names of its prompts.
        counts: arm -> count -> int64 [names, states]; the baseline's are [1, states]. Counts are
            runs, decided, stop, staked and extreme.
        stakes: The bets with a known stake: arm, name (row of `names`, -1 for the baseline), state
            (column of `states`), trial, stake (share of the balance).
        decisions: Every run: arm, name, state, trial, decision; for paired tests.
    """

    name: str
    names: pd.DataFrame
    states: list[str]
    counts: dict[str, dict[str, NDArray[np.int64]]]
    stakes: pd.DataFrame
    runs: pd.DataFrame


def scenes(trials: pd.DataFrame, arms: tuple[str, ...]) -> list[Scene]:
    """The runs of one phase by scene, in the order of the scenes' names.

    Args:
        trials: Columns role, scene, prompt, arm, layer, feature, trial, decision, amount, balance.
        arms: Arms that every feature must have, the baseline included if it is compared with.

    Raises:
        BadInput: An unknown decision, or no patched run at all.
        Incomplete: A feature lacks an arm in a prompt, or a prompt its baseline.
    """
    unknown = sorted(set(trials["decision"]) - set(DECISIONS))
    if unknown:
        raise BadInput(f"Unknown decisions {unknown}; known are {', '.join(DECISIONS)}.")
    used = trials[trials["role"].isin([*ROLES, "baseline"]) & trials["arm"].isin(arms)]
    if not (used["role"] != "baseline").any():
        raise BadInput("The trials hold no run patched to a safe or risky value.")
    return [_scene(str(name), rows, arms) for name, rows in used.groupby("scene")]


def _scene(name: str, rows: pd.DataFrame, arms: tuple[str, ...]) -> Scene:
    patched = rows[rows["role"] != "baseline"]
    names = patched[NAME].drop_duplicates().astype({"layer": np.int64, "feature": np.int64})
    names = names.sort_values(NAME).reset_index(drop=True)
    states = sorted(rows["prompt"].unique())
    place = pd.Series(names.index, index=pd.MultiIndex.from_frame(names))
    labels = pd.MultiIndex.from_frame(
        rows[NAME].fillna(-1).astype({"layer": np.int64, "feature": np.int64})
    )
    stake = rows["amount"] / rows["balance"]
    bet = rows["decision"] == "bet"
    runs = pd.DataFrame(
        {
            "arm": rows["arm"].to_numpy(),
            "name": place.reindex(labels).fillna(-1).astype(np.int64).to_numpy(),
            "state": pd.Index(states).get_indexer(rows["prompt"]),
            "trial": rows["trial"].to_numpy(),
            "decision": rows["decision"].to_numpy(),
            "stake": np.where(bet, stake, np.nan).astype(np.float64),
        }
    )
    counts = {arm: _counts(runs, arm, len(names), len(states)) for arm in arms}
    for arm, of_arm in counts.items():
        _require(name, arm, of_arm["runs"], names, states)
    stakes = runs[runs["stake"].notna()]
    return Scene(name, names, states, counts, stakes, runs)


def _counts(runs: pd.DataFrame, arm: str, names: int, states: int) -> dict[str, NDArray[np.int64]]:
    mine = runs[runs["arm"] == arm]
    rows = 1 if arm == "baseline" else names
    cell = mine["state"].to_numpy() + states * np.maximum(mine["name"].to_numpy(), 0)
    stake = mine["stake"].to_numpy()
    flags = {
        "runs": np.ones(len(mine), bool),
        "decided": (mine["decision"] != "none").to_numpy(),
        "stop": (mine["decision"] == "stop").to_numpy(),
        "staked": ~np.isnan(stake),
        "extreme": stake >= EXTREME,
    }
    return {
        count: np.bincount(cell[flag], minlength=rows * states).reshape(rows, states)
        for count, flag in flags.items()
    }


def _require(
    scene: str, arm: str, runs: NDArray[np.int64], names: pd.DataFrame, states: list[str]
) -> None:
    lacking = np.argwhere(runs == 0)
    if not len(lacking):
        return
    row, column = lacking[0]
    who = "there"
    if arm != "baseline":
        first = names.loc[row]
        who = f"{first['role']} {first['feature']} of layer {first['layer']}"
    raise Incomplete(
        f"{len(lacking)} features and prompts of scene {scene!r} lack an arm; first: {who} has no "
        f"{arm!r} run of prompt {states[column]!r}."
        if arm != "baseline"
        else f"There is no 'baseline' run of prompt {states[column]!r}.",
        next="Finish the patching before its analysis.",
    )
