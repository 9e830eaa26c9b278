"""The two groups of decisions whose activations are compared.

Risky are the last decisions of games that end bankrupt, safe those of games that end in a stop.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pitboss.errors import Mismatch
from pitboss.experiments.selection.settings import SelectionSettings
from pitboss.games.outcomes import Outcome
from pitboss.store import Store

GROUPS = {Outcome.BANKRUPTCY: "risky", Outcome.VOLUNTARY_STOP: "safe"}
CELLS = ("balance", "round")
_OF_STATE = ("balance", "round", "variable")


def adjusting(settings: SelectionSettings) -> dict[str, Any]:
    """What the adjusted differences depend on besides the activations."""
    if settings.adjust == "none":
        return {}
    by = settings.covariates if settings.adjust == "covariates" else CELLS
    return {"adjust": [settings.adjust, settings.count, settings.errors, *by]}


def last_decisions(store: Store, keys: Sequence[str]) -> pd.DataFrame:
    """The last decision of every game that ended bankrupt or in a stop, in the order of games.

    Args:
        keys: Content keys of the batches of games.

    Returns:
        Columns game, key, prompt_sha256, prompt_text, group (risky | safe), balance, round,
        variable (1 where the stake is free, 0 where it is fixed).

    Raises:
        Incomplete: Games are missing.
    """
    store.coverage("games", keys).require()
    outcome = store.read("games", keys).select(["key", "outcome", "bet_type"]).to_pandas()
    columns = ["game", "key", "round", "attempt", "balance", "prompt_sha256", "prompt_text"]
    every = store.read("decisions", keys).select(columns).to_pandas()
    last = every.sort_values(["game", "round", "attempt"]).groupby("game").tail(1)
    joined = last.merge(outcome, left_on="game", right_on="key", suffixes=("", "_game"))
    joined["group"] = joined["outcome"].map({str(k): v for k, v in GROUPS.items()})
    joined["variable"] = (joined["bet_type"] == "variable").astype(int)
    chosen = joined.dropna(subset=["group"]).sort_values("game").reset_index(drop=True)
    return chosen[
        ["game", "key", "prompt_sha256", "prompt_text", "group", "balance", "round", "variable"]
    ]


def distinct_states(decisions: pd.DataFrame) -> pd.DataFrame:
    """The distinct prompts of some last decisions, in the order of their first decision.

    Returns:
        Columns key (of the first decision), prompt_text, balance, round, variable, and risky and
        safe: how many decisions of each group were made at it.

    Raises:
        Mismatch: Decisions with the same prompt differ in balance, round or kind of bets.
    """
    state = decisions.groupby("prompt_sha256", sort=False)
    if (differ := state[list(_OF_STATE)].nunique().max(axis=1) > 1).any():
        raise Mismatch(
            f"{int(differ.sum())} prompts were shown at different balances or rounds.",
            where=str(differ.idxmax()),
            next="Set adjust to none; the prompt does not say where the game stands.",
        )
    counts = pd.crosstab(decisions["prompt_sha256"], decisions["group"])
    counts = counts.reindex(columns=list(GROUPS.values()), fill_value=0)
    first = state[["key", "prompt_text", *_OF_STATE]].first()
    return first.join(counts).reset_index()
