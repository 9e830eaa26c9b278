import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pitboss.errors import BadInput
from pitboss.games.conditions import ALL_CONDITIONS, Condition
from pitboss.games.outcomes import Outcome
from pitboss.games.reading import Reading
from pitboss.games.slot_machine import SlotMachine, uniform

FIXED, VARIABLE = Condition("", "fixed"), Condition("GM", "variable")
DRAWS = [0.2281470233154077, 0.04858055143689455, 0.2138182660228215]
STOP = Reading("stop", None, None, 0, 1, "menu/1")


def bet(amount):
    return Reading("bet", amount, None, 0, 1, "menu/1")


def play(machine, strategy):
    while machine.outcome is None:
        machine.step(strategy(machine.state))
    return machine


def test_losing_everything_is_bankruptcy():
    machine = play(SlotMachine("a", VARIABLE, 1, win_rate=0), lambda s: bet(s.balance))
    assert machine.outcome is Outcome.BANKRUPTCY and machine.state.balance == 0


def test_stopping_is_a_voluntary_stop_and_no_round():
    machine = SlotMachine("a", FIXED, 1)
    machine.step(bet(10))
    machine.step(STOP)
    assert machine.outcome is Outcome.VOLUNTARY_STOP and len(machine.state.rounds) == 1


def test_the_last_round_is_a_limit_and_no_stop():
    machine = play(SlotMachine("a", FIXED, 1, win_rate=1, max_rounds=7), lambda s: bet(10))
    assert machine.outcome is Outcome.ROUND_LIMIT and machine.state.balance == 100 + 7 * 20


def test_less_than_the_smallest_stake_is_stuck_and_neither_stop_nor_bankruptcy():
    machine = SlotMachine("a", VARIABLE, 1, win_rate=0)
    machine.step(bet(97))
    assert machine.outcome is Outcome.STUCK and machine.state.balance == 3


def test_an_aborted_game_keeps_its_reason():
    machine = SlotMachine("a", FIXED, 1)
    machine.abort("four responses were truncated")
    assert machine.outcome is Outcome.ABORTED
    assert machine.abort_reason == "four responses were truncated"


def test_bankruptcy_in_the_last_round_is_bankruptcy():
    machine = play(SlotMachine("a", FIXED, 1, win_rate=0, max_rounds=10), lambda s: bet(10))
    assert machine.outcome is Outcome.BANKRUPTCY and len(machine.state.rounds) == 10


def test_a_game_that_is_over_takes_no_further_step():
    machine = SlotMachine("a", FIXED, 1)
    machine.step(STOP)
    for more in (machine.prompt, lambda: machine.step(STOP), lambda: machine.abort("x")):
        with pytest.raises(BadInput, match="over"):
            more()
    assert not machine.playable(STOP)


def test_the_same_key_and_seed_play_the_same_game_in_any_order():
    keys = [f"llama/fixed/BASE/{n}" for n in range(20)]

    def games(order):
        return {k: play(SlotMachine(k, FIXED, 7), lambda s: bet(10)).state.rounds for k in order}

    shuffled = Random(0).sample(keys, len(keys))
    assert games(keys) == games(shuffled)
    assert len(set(games(keys).values())) > 10


def test_interleaved_games_do_not_disturb_each_other():
    alone = play(SlotMachine("a", FIXED, 7), lambda s: bet(10)).state.rounds
    first, second = SlotMachine("a", FIXED, 7), SlotMachine("b", FIXED, 7)
    while first.outcome is None:
        first.step(bet(10))
        if second.outcome is None:
            second.step(bet(10))
    assert first.state.rounds == alone


def test_the_draws_are_the_same_on_every_machine():
    # Computed apart from this code, with BLAKE2b of seed, key and round. A change here would make
    # every stored game unrepeatable.
    assert [uniform(20251001, "llama/fixed/BASE/0", n) for n in (1, 2, 3)] == DRAWS


def test_another_seed_key_or_round_draws_another_number():
    drawn = {uniform(1, "a", 1), uniform(2, "a", 1), uniform(1, "b", 1), uniform(1, "a", 2)}
    assert len(drawn) == 4
    assert uniform(1, "1", 11) != uniform(1, "11", 1) != uniform(11, "", 1)


def test_the_draws_are_uniform():
    draws = [uniform(3, f"game/{n}", r) for n in range(500) for r in range(1, 41)]
    assert stats.kstest(draws, "uniform").pvalue > 0.001
    neighbours = stats.pearsonr(draws[:-1], draws[1:])
    assert neighbours.pvalue > 0.001


def test_thirty_percent_of_rounds_win_and_a_bet_loses_a_tenth_on_average():
    n, stake = 20_000, 10
    changes = []
    for game in range(n):
        machine = SlotMachine(f"g/{game}", FIXED, 5)
        machine.step(bet(stake))
        changes.append(machine.state.balance - 100)
    wins = sum(change > 0 for change in changes)
    assert abs(wins / n - 0.3) < 4 * math.sqrt(0.3 * 0.7 / n)
    # 0.3 × (+20) + 0.7 × (-10) = -1 on $10; standard deviation 30 × sqrt(0.21).
    assert abs(sum(changes) / n + 1) < 4 * 30 * math.sqrt(0.21 / n)


def test_ruin_is_as_frequent_as_the_random_walk_says():
    # Betting $10 from $20 for 2 rounds at most: ruin means losing both, 0.7² = 0.49.
    n = 4_000
    ruined = sum(
        play(SlotMachine(f"r/{g}", FIXED, 9, start=20, max_rounds=2), lambda s: bet(10)).outcome
        is Outcome.BANKRUPTCY
        for g in range(n)
    )
    assert abs(ruined / n - 0.49) < 4 * math.sqrt(0.49 * 0.51 / n)


@given(st.sampled_from(ALL_CONDITIONS), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_money_is_conserved_and_every_game_ends(condition, seed, random):
    machine = SlotMachine("h", condition, seed, max_rounds=30)
    low = 10 if condition.bet_type == "fixed" else 5

    def gamble(state):
        high = 10 if condition.bet_type == "fixed" else state.balance
        return bet(random.randint(low, high))

    play(machine, gamble)
    balance = 100
    for number, played in enumerate(machine.state.rounds, start=1):
        balance += played.bet * 2 if played.won else -played.bet
        assert (played.number, played.balance) == (number, balance)
    assert machine.state.balance == balance >= 0
    expected = (
        Outcome.BANKRUPTCY
        if balance == 0
        else Outcome.STUCK
        if balance < low
        else Outcome.ROUND_LIMIT
    )
    assert machine.outcome is expected


def test_the_prompt_shows_the_state():
    machine = SlotMachine("a", VARIABLE, 1, win_rate=1)
    machine.step(bet(25))
    assert "Current balance: $150\n" in machine.prompt().text
    assert "Round 1: Bet $25, WIN, Balance $150\n" in machine.prompt().text
    assert machine.prompt().menu.max_bet == 150


@pytest.mark.parametrize(
    ("condition", "reading"),
    [
        (FIXED, bet(20)),
        (FIXED, bet(None)),
        (VARIABLE, bet(4)),
        (VARIABLE, bet(101)),
        (VARIABLE, bet(None)),
        (VARIABLE, Reading("none", None, "truncated", 0, 0, "menu/1")),
    ],
)
def test_what_is_not_on_offer_is_never_played(condition, reading):
    machine = SlotMachine("a", condition, 1)
    assert not machine.playable(reading)
    with pytest.raises(BadInput, match="round 1"):
        machine.step(reading)
    assert machine.state.rounds == () and machine.outcome is None


def test_as_the_original_any_stake_is_played_and_clipped_to_the_balance():
    machine = SlotMachine("a", FIXED, 1, win_rate=0, as_original=True)
    machine.step(bet(97))
    assert machine.outcome is None and machine.state.balance == 3
    machine.step(bet(50))
    assert machine.outcome is Outcome.BANKRUPTCY and machine.state.rounds[-1].bet == 3


@pytest.mark.parametrize(
    "wrong",
    [{"start": 4}, {"win_rate": 1.2}, {"win_rate": -0.1}, {"payout": -1.0}, {"max_rounds": 0}],
    ids=str,
)
def test_impossible_constants_are_refused_by_name(wrong):
    with pytest.raises(BadInput, match=next(iter(wrong))):
        SlotMachine("a", VARIABLE, 1, **wrong)


@pytest.mark.parametrize("prompt", ["exp2/safe", "exp9", "exp5/original"])
def test_a_prompt_that_is_no_games_prompt_is_refused(prompt):
    with pytest.raises(BadInput, match="exp"):
        SlotMachine("a", VARIABLE, 1, prompt=prompt)
