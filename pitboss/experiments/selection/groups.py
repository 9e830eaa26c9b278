"""The two groups of decisions whose activations are compared, and at equal values of what.

Risky are the last decisions of games that end bankrupt, safe those of games that end in a stop.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pitboss.errors import Mismatch
from pitboss.experiments.games import experiment as games
from pitboss.experiments.runtime.context import Lane
from pitboss.games.outcomes import Outcome
from pitboss.saes.adjusted import Adjusted, Design, covariate_design, matched_design
from pitboss.store import Store, table_of
from pitboss.studies.model import Features, Study

GROUPS = {Outcome.BANKRUPTCY: "risky", Outcome.VOLUNTARY_STOP: "safe"}
CELLS = ("balance", "round")
_COVARIATES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "balance": lambda states: states["balance"],
    "log_balance": lambda states: np.log(states["balance"]),
    "round": lambda states: states["round"],
    "log_round": lambda states: np.log(states["round"]),
    "variable": lambda states: states["variable"],
}
_OF_STATE = ("balance", "round", "variable")


def adjusting(settings: Features) -> dict[str, Any]:
    """What the adjusted differences depend on besides the activations."""
    if settings.adjust == "none":
        return {}
    by = settings.covariates if settings.adjust == "covariates" else CELLS
    return {"adjust": [settings.adjust, settings.count, settings.errors, *by]}


def last_decisions(study: Study, store: Store, alias: str) -> pd.DataFrame:
    """The last decision of every game that ended bankrupt or in a stop, in the order of games.

    Returns:
        Columns game, key, prompt_sha256, prompt_text, group (risky | safe), balance, round,
        variable (1 where the stake is free, 0 where it is fixed).

    Raises:
        Incomplete: Games are missing.
    """
    keys = [unit.key for unit in games.units(study, alias)]
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
            next="Set features.adjust to none; the prompt does not say where the game stands.",
        )
    counts = pd.crosstab(decisions["prompt_sha256"], decisions["group"])
    counts = counts.reindex(columns=list(GROUPS.values()), fill_value=0)
    first = state[["key", "prompt_text", *_OF_STATE]].first()
    return first.join(counts).reset_index()


def design(settings: Features, states: pd.DataFrame) -> Design | None:
    """The comparison that the study wants, over distinct states; None where it adjusts nothing.

    Raises:
        BadInput: The groups cannot be compared at equal balance and round.
    """
    risky, safe = (states[name].to_numpy() for name in GROUPS.values())
    if settings.count == "states":
        risky, safe = np.minimum(risky, 1), np.minimum(safe, 1)
    if settings.adjust == "covariates":
        columns = [_COVARIATES[name](states) for name in settings.covariates]
        return covariate_design(risky, safe, np.column_stack(columns))
    if settings.adjust == "matched":
        return matched_design(risky, safe, states.groupby(list(CELLS)).ngroup().to_numpy())
    return None


def adjustments_table(lane: Lane, layer: int, comparison: Design, found: Adjusted) -> pa.Table:
    settings = lane.study.features
    robust = settings.errors == "robust"
    frame = pd.DataFrame(
        {
            "model": lane.loaded.spec.id,
            "layer": layer,
            "feature": np.arange(len(found.difference)),
            "adjust": settings.adjust,
            "errors": settings.errors,
            "n_risky": comparison.n_risky,
            "n_safe": comparison.n_safe,
            "difference": found.difference,
            "se": found.se_robust if robust else found.se,
            "df": float(comparison.df_robust if robust else comparison.df),
        }
    )
    if comparison.cell is not None:
        frame["cells"] = comparison.cells
    return table_of("adjustments", frame)
