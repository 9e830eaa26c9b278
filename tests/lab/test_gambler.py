"""The gambler keeps the rules of the game and has the habits that he is made for."""

from dataclasses import replace
from itertools import product
from random import Random

import pytest

from pitboss.games.conditions import Condition
from pitboss.games.prompts import Round, State
from training.gambler import (
    Situation,
    decide,
    single_choice_log_odds,
    situation_of,
    stop_log_odds,
)

PLAIN = Situation(balance=100, losses=0, played=0, components="", variable=True)


def test_he_never_bets_more_than_he_has_or_less_than_he_must():
    rng = Random(1)
    for balance, losses, components in product(range(10, 400, 10), (0, 1, 4, 9), ("", "GM", "P")):
        s = Situation(balance, losses, losses, components, variable=True, highest_bet=200)
        for _ in range(10):
            amount = decide(s, -20.0, rng).amount
            assert amount is not None and 5 <= amount <= min(balance, 200)


def test_a_fixed_menu_leaves_him_one_stake():
    s, rng = replace(PLAIN, variable=False), Random(1)
    assert {decide(s, -20.0, rng).amount for _ in range(50)} == {10}


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (replace(PLAIN, balance=200), PLAIN),  # winnings make him stop
        (PLAIN, replace(PLAIN, balance=60, losses=3)),  # losses are chased
        (PLAIN, replace(PLAIN, components="G")),
        (PLAIN, replace(PLAIN, components="M")),
        (replace(PLAIN, components="P"), PLAIN),  # knowing the odds sobers
        (replace(PLAIN, played=20), PLAIN),  # games come to an end
    ],
)
def test_what_makes_him_stop(more, less):
    assert stop_log_odds(more) > stop_log_odds(less)


def test_he_bets_more_while_he_loses():
    rng = Random(1)

    def mean(losses: int) -> float:
        s = replace(PLAIN, losses=losses)
        return sum(decide(s, -20.0, rng).amount for _ in range(2000)) / 2000

    assert mean(0) < mean(2) < mean(4)


def test_both_scenes_leave_room_either_way():
    for s in (Situation(140, 0, 3, "GRWP", False), Situation(20, 2, 3, "GRWP", True)):
        assert -1.0 < single_choice_log_odds(s) < 0.5


def test_he_says_other_things_when_he_stops_than_when_he_bets():
    rng = Random(1)
    s = replace(PLAIN, balance=150, components="GMRWP")
    stops = {decide(s, 20.0, rng).words for _ in range(200)}
    bets = {decide(s, -20.0, rng).words for _ in range(200)}
    assert stops.isdisjoint(bets) and len(stops) > 5 and len(bets) > 5


def test_a_slot_machine_state_is_read_from_its_history():
    rounds = (Round(1, 10, True, 120), Round(2, 20, False, 100), Round(3, 5, False, 95))
    s = situation_of(State(Condition("GP", "variable"), 95, rounds))
    assert s == Situation(95, losses=2, played=3, components="GP", variable=True)
