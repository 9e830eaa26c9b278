"""Outcomes are counted by name; aborted games are no observation of how a game ends."""

import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from pitboss.analysis.games import condition_outcomes
from pitboss.errors import BadInput


def games(condition: str, outcomes: list[str]) -> pd.DataFrame:
    bet_type, components = condition.split("/")
    return pd.DataFrame(
        {
            "model": "m",
            "condition": condition,
            "bet_type": bet_type,
            "components": components,
            "outcome": outcomes,
            "rounds": [0 if o == "aborted" else 4 for o in outcomes],
            "total_bet": [0 if o == "aborted" else 60 for o in outcomes],
            "retries": 1,
        }
    )


def test_rates_are_over_finished_games() -> None:
    ends = ["bankruptcy"] * 3 + ["voluntary_stop"] * 5 + ["stuck", "round_limit"] + ["aborted"] * 2
    other = games("fixed/BASE", ["aborted"])
    table = condition_outcomes(pd.concat([games("variable/GM", ends), other]))
    row = table.set_index("condition").loc["variable/GM"]
    assert (row["games"], row["finished"], row["aborted"], row["retries"]) == (12, 10, 2, 12)
    assert (row["bankruptcy_rate"], row["stop_rate"]) == (0.3, 0.5)
    low, high = proportion_confint(3, 10, method="wilson")
    assert row["bankruptcy_low"] == pytest.approx(low)
    assert row["bankruptcy_high"] == pytest.approx(high)
    assert (row["mean_rounds"], row["mean_bet"]) == (4, 15)
    nothing = table.set_index("condition").loc["fixed/BASE"]
    assert nothing["finished"] == 0
    assert nothing[["bankruptcy_rate", "bankruptcy_low", "mean_rounds", "mean_bet"]].isna().all()


def test_an_outcome_nobody_knows_is_refused() -> None:
    with pytest.raises(BadInput, match="Unknown outcomes .'bankrupt'."):
        condition_outcomes(games("fixed/G", ["bankrupt"]))
