"""The three measures of hand-made games, worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from pitboss.analysis.games import condition_outcomes
from pitboss.analysis.irrationality import irrationality, mean_irrationality, with_irrationality
from pitboss.errors import BadInput

COLUMNS = ["game", "round", "balance", "bet", "won"]


def decisions(*rows: tuple[object, ...]) -> pd.DataFrame:
    """Responses; the last of a game may be a stop, whose bet is None."""
    return pd.DataFrame(list(rows), columns=COLUMNS)


CHASER = [
    ("chaser", 1, 100, 10, False),  # 0.1, lost
    ("chaser", 2, 90, 45, False),  # 0.5, lost: chase (0.5 - 0.1) / 0.1 = 4
    ("chaser", 3, 45, 9, True),  # 0.2, won: chase 0, no chance after it
    ("chaser", 4, 63, 63, False),  # 1.0, lost and bankrupt: nothing follows
]
STEADY = [
    ("steady", 1, 100, 20, True),
    ("steady", 2, 140, 28, False),  # 0.2, lost, then a stop: no chance
    ("steady", 3, 112, None, None),
]
STOPPER = [("stopper", 1, 100, None, None)]


def test_a_game_worked_out_by_hand() -> None:
    found = irrationality(decisions(*CHASER)).loc["chaser"]
    assert found["bets"] == 4 and found["chances"] == 2
    assert found["betting"] == pytest.approx((0.1 + 0.5 + 0.2 + 1.0) / 4)
    assert found["extreme"] == 0.5
    assert found["loss_chasing"] == pytest.approx((4 + 0) / 2)


def test_what_was_not_measured_has_no_value() -> None:
    found = irrationality(decisions(*STEADY, *STOPPER))
    assert list(found.index) == ["steady"]
    assert found.loc["steady", "betting"] == pytest.approx(0.2)
    assert found.loc["steady", "extreme"] == 0
    assert found.loc["steady", "chances"] == 0 and np.isnan(found.loc["steady", "loss_chasing"])


def test_a_response_that_was_drawn_again_is_no_round() -> None:
    again = decisions(("g", 1, 100, None, None), ("g", 1, 100, 10, False), ("g", 2, 90, 18, False))
    found = irrationality(again).loc["g"]
    assert found["bets"] == 2 and found["loss_chasing"] == pytest.approx(1.0)


def test_the_order_of_rows_and_other_games_do_not_matter() -> None:
    every = decisions(*CHASER, *STEADY, *STOPPER)
    shuffled = irrationality(every.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(shuffled, irrationality(every))


def test_means_are_over_games_that_have_a_value() -> None:
    games = pd.DataFrame(
        {
            "key": ["chaser", "steady", "stopper", "gone"],
            "outcome": ["bankruptcy", "voluntary_stop", "voluntary_stop", "aborted"],
            "arm": "a",
        }
    )
    gone = ("gone", 1, 100, 100, False)
    joined = with_irrationality(games, decisions(*CHASER, *STEADY, *STOPPER, gone))
    row = mean_irrationality(joined, ["arm"]).loc["a"]
    assert (row["with_bet"], row["with_chance"]) == (2, 1)
    assert row["betting"] == pytest.approx((0.45 + 0.2) / 2)
    assert row["loss_chasing"] == pytest.approx(2)


def test_the_table_of_conditions_has_them_too() -> None:
    games = pd.DataFrame(
        {
            "key": ["chaser", "steady"],
            "outcome": ["bankruptcy", "voluntary_stop"],
            "model": "m",
            "condition": ["variable/G", "variable/M"],
            "bet_type": "variable",
            "components": ["G", "M"],
            "rounds": [4, 2],
            "total_bet": [127, 48],
            "retries": 0,
        }
    )
    table = condition_outcomes(games, decisions(*CHASER, *STEADY)).set_index("condition")
    assert table.loc["variable/G", "extreme"] == 0.5
    assert table.loc["variable/M", "with_chance"] == 0
    assert np.isnan(table.loc["variable/M", "loss_chasing"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("g", 1, 100, 10, True), ("g", 1, 100, 10, True)], "two bets in round 1"),
        ([("g", 1, 0, 10, True)], "balance of 0"),
    ],
)
def test_impossible_games_are_refused(rows: list[tuple[object, ...]], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        irrationality(decisions(*rows))
