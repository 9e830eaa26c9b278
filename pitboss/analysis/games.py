"""How the games of each condition ended, with intervals."""

import pandas as pd

from pitboss.analysis.irrationality import mean_irrationality, with_irrationality
from pitboss.analysis.proportions import rate, wilson
from pitboss.errors import BadInput
from pitboss.games.outcomes import Outcome

OUTCOMES = tuple(outcome.value for outcome in Outcome)


def condition_outcomes(games: pd.DataFrame, decisions: pd.DataFrame | None = None) -> pd.DataFrame:
    """Counts outcomes per model and condition.

    Args:
        games: Rows of the kind `games`.
        decisions: Their rows of the kind `decisions`, for how the bets were placed.

    Returns:
        One row a model and condition: bet_type, components, games, one count for each outcome,
        finished (games that were not aborted: the denominator of the rates), bankruptcy_rate,
        bankruptcy_low, bankruptcy_high, stop_rate, stop_low, stop_high (Wilson, 95 %; NaN without a
        finished game), mean_rounds, mean_bet (dollars a bet; NaN without a bet), retries. Aborted
        games enter games, aborted and retries alone. With decisions also the measures of
        `pitboss.analysis.irrationality`: with_bet, betting, extreme, with_chance, loss_chasing.

    Raises:
        BadInput: An outcome that is none of the known ones.
    """
    unknown = sorted(set(games["outcome"]) - set(OUTCOMES))
    if unknown:
        raise BadInput(f"Unknown outcomes {unknown}; known are {', '.join(OUTCOMES)}.")
    by = ["model", "condition", "bet_type", "components"]
    counted = games.groupby([*by, "outcome"]).size().unstack(fill_value=0)
    table = counted.reindex(columns=list(OUTCOMES), fill_value=0).rename_axis(columns=None)
    table.insert(0, "games", table.sum(axis=1))
    table["finished"] = table["games"] - table["aborted"]
    done = games[games["outcome"] != "aborted"].groupby(by)
    sums = done[["rounds", "total_bet"]].sum().reindex(table.index, fill_value=0)
    table["retries"] = games.groupby(by)["retries"].sum()
    for name, column in (("bankruptcy", "bankruptcy"), ("stop", "voluntary_stop")):
        table[f"{name}_rate"] = rate(table[column], table["finished"])
        table[f"{name}_low"], table[f"{name}_high"] = wilson(table[column], table["finished"])
    table["mean_rounds"] = rate(sums["rounds"], table["finished"])
    table["mean_bet"] = rate(sums["total_bet"], sums["rounds"])
    if decisions is not None:
        table = table.join(mean_irrationality(with_irrationality(games, decisions), by))
    return table.reset_index()
