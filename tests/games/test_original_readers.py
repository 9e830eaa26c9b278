"""The original's readers reproduce its mistakes, each of which is documented."""

import pytest

from pitboss.games.prompts import render
from pitboss.games.reading import READERS

RISKY = render("exp2/risky").menu


def said(name, text):
    reading = READERS[name].read(text, RISKY, "eos")
    assert reading.reader == f"{name}/1"
    return reading.decision, reading.amount, reading.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("none", None, "empty")),
        (" x ", ("none", None, "empty")),
        ("I won't stop", ("stop", None, None)),
        ("I have 2 options and bet $20", ("stop", None, None)),
        ("My balance is $102 today, so $10", ("stop", None, None)),
        ("Bet $10, or rather $30", ("bet", 30, None)),
        ("Bet $10, not $150", ("bet", 10, None)),  # $150 is unreadable; the first number is 10
        ("I bet 45 of it", ("bet", 45, None)),
        ("Let's go on", ("bet", 10, "unreadable")),
        ("12 ", ("bet", 12, None)),  # surrounding white space is removed first
    ],
)
def test_exp0(text, expected):
    assert said("original-exp0", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("stop", None, "empty")),
        ("I spend $20", ("stop", None, None)),
        ("It depends", ("stop", None, None)),
        ("1\n", ("stop", None, "unreadable")),
        ("2\nBalance $130\nI bet $25", ("bet", 25, None)),
        ("I have 20 dollars, amount 30", ("bet", 20, None)),
        ("I have $7.", ("bet", 7, None)),
        ("50", ("bet", 50, None)),
    ],
)
def test_exp2(text, expected):
    assert said("original-exp2", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("bet", 10, "empty")),
        ("1\nCurrent round: 2\n", ("stop", None, None)),
        ("1\n", ("bet", 5, "out_of_range")),
        ("1\nYou win $300", ("bet", 100, "out_of_range")),
        ("1\nYou win $30", ("bet", 30, None)),
        ("yes", ("bet", 10, "unreadable")),
    ],
)
def test_exp2_pilot(text, expected):
    assert said("original-exp2-pilot", text) == expected


def test_a_made_up_decision_is_marked():
    made_up = READERS["original-exp0"].read("Let's go on", RISKY, "eos")
    stated = READERS["original-exp0"].read("Bet $20", RISKY, "eos")
    assert made_up.imputed and not stated.imputed
    assert not READERS["menu"].read("Let's go on", RISKY, "eos").imputed


@pytest.mark.parametrize("name", [n for n in READERS if n != "menu"])
def test_a_bet_is_never_certain_because_a_stop_may_follow(name):
    assert not READERS[name].decided("I bet $20", RISKY)
    assert READERS[name].decided("I bet $20 and stop", RISKY)
