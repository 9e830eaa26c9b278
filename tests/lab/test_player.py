"""The lab's independent player: its rules, and what the shipped models do with them."""

import pytest

from pitboss.games.conditions import ALL_CONDITIONS, Condition
from pitboss.games.prompts import State
from pitboss.games.reading import Reading
from pitboss.models.loading import load_model
from training.player import RETRIES, Game, outcomes, play

WIN, LOSS = 0.0, 0.99


def _game(balance: int = 100) -> Game:
    return Game(State(Condition("", "variable"), balance))


def _bet(amount: int | None) -> Reading:
    return Reading("bet", amount, None, 0, 1, "menu/1")


STOP = Reading("stop", None, None, 0, 1, "menu/1")
NOTHING = Reading("none", None, "unreadable", 0, 0, "menu/1")


def test_a_win_pays_three_stakes_and_a_loss_takes_one():
    game = _game()
    game.take(_bet(20), WIN)
    game.take(_bet(50), LOSS)
    assert [r.balance for r in game.state.rounds] == [140, 90]
    assert game.outcome is None


@pytest.mark.parametrize(
    ("balance", "reading", "outcome"),
    [(30, _bet(30), "bankruptcy"), (30, _bet(27), "stuck"), (30, STOP, "voluntary_stop")],
)
def test_games_end(balance, reading, outcome):
    game = _game(balance)
    game.take(reading, LOSS)
    assert game.outcome == outcome


@pytest.mark.parametrize("unusable", [NOTHING, _bet(None)])
def test_a_response_without_decision_moves_nothing_and_in_the_end_aborts(unusable):
    game = _game()
    for _ in range(RETRIES):
        game.take(unusable, WIN)
        assert game.outcome is None
    game.take(unusable, WIN)
    assert game.outcome == "aborted"
    assert game.invalid == RETRIES + 1 and game.state.balance == 100


def test_the_shipped_models_play_on_their_own():
    conditions = list(ALL_CONDITIONS[::8])
    for model_id in ("pitboss/lab-llama", "pitboss/lab-gemma"):
        games = play(load_model(model_id), conditions, seed=8)
        assert [g.state.condition for g in games] == conditions
        found = outcomes(games)
        assert found["voluntary_stop"] >= 2 and "round_limit" not in found
        responses = sum(len(g.responses) + g.invalid for g in games)
        assert sum(g.invalid for g in games) <= 0.15 * responses
        for game in games:
            assert (game.outcome == "bankruptcy") == (game.state.balance <= 0)
