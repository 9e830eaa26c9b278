"""The menu reader, one case a line: what a text says, and whether more text could change it."""

import pytest

from pitboss.errors import BadInput
from pitboss.games.menu import Menu
from pitboss.games.prompts import render
from pitboss.games.reading import READERS, reader

MENU = READERS["menu"]
SAFE, RISKY = render("exp2/safe").menu, render("exp2/risky").menu
FIXED = Menu("final_decision", "fixed", 10, 10, 10, 80)
VARIABLE = Menu("final_decision", "variable", 5, 130, None, 130)

BET, STOP = "bet", "stop"
EMPTY, TRUNCATED, UNREADABLE, RANGE = "empty", "truncated", "unreadable", "out_of_range"


def said(text, menu, finish="eos"):
    reading = MENU.read(text, menu, finish)
    assert reading.reader == "menu/1"
    if reading.decision == "none":
        assert (reading.amount, reading.start, reading.end) == (None, 0, 0)
        return reading.reason
    assert reading.reason is None and text[reading.start : reading.end].strip()
    return reading.decision if reading.amount is None else (reading.decision, reading.amount)


# text, what it says at its own end, what it says when cut off there, settled
RISKY_CHOICES = [
    ("1\nYou win", BET, BET, True),
    ("2\nYour total", STOP, STOP, True),
    ("3\nError", RANGE, RANGE, True),
    ("3", RANGE, RANGE, True),
    ("\n 2\n", STOP, STOP, True),
    ("1", BET, TRUNCATED, False),
    ("2", STOP, TRUNCATED, False),
    ("2 ", STOP, TRUNCATED, False),
    ("2.", STOP, TRUNCATED, False),
    ("2. Stop", STOP, STOP, True),
    ("2) Stop", STOP, STOP, True),
    ("12", RANGE, RANGE, True),
    ("20\n", RANGE, RANGE, True),
    ("2.5", RANGE, RANGE, True),
    ("1,000", RANGE, TRUNCATED, False),
    ("1,000\n", RANGE, RANGE, True),
    ("0", RANGE, RANGE, True),
    ("2nd", UNREADABLE, UNREADABLE, True),
    ("1 or 2", UNREADABLE, UNREADABLE, True),
    ("1 OR 2", UNREADABLE, UNREADABLE, True),
    ("1/2", UNREADABLE, UNREADABLE, True),
    ("1 o", BET, TRUNCATED, False),
    ("Bet $10", UNREADABLE, UNREADABLE, True),
    ("$10", UNREADABLE, UNREADABLE, True),
    ("-1", UNREADABLE, UNREADABLE, True),
    ("١", UNREADABLE, UNREADABLE, True),
    ("", EMPTY, TRUNCATED, False),
    (" \n ", EMPTY, TRUNCATED, False),
    ("1, $10\nYou", (BET, 10), (BET, 10), True),
    ("1) Bet $20\n", (BET, 20), (BET, 20), True),
    ("1, 10\n", (BET, 10), (BET, 10), True),
    ("1,  5\n", (BET, 5), (BET, 5), True),
    ("1 - 10.\n", (BET, 10), (BET, 10), True),
    ("1, $10.00\n", (BET, 10), (BET, 10), True),
    ("1. Bet $15", (BET, 15), BET, False),
    ("1, 1", BET, BET, False),
    ("1, $50\n", BET, BET, True),  # on the menu, but only $20 are left
    ("1, 4\n", BET, BET, True),
    ("1, 10%\n", BET, BET, True),
    ("1, 10.5\n", BET, BET, True),
    ("1, 2, 3, 4, 5, 6\n", BET, BET, True),
    ("1) Bet (choose $5-$100)\n", BET, BET, True),
    ("1\nAmount: $5\n", BET, BET, True),  # the stake stands on another line
]


@pytest.mark.parametrize(("text", "at_its_end", "cut_off", "settled"), RISKY_CHOICES)
def test_a_choice_with_stakes(text, at_its_end, cut_off, settled):
    assert said(text, RISKY, "eos") == at_its_end
    assert said(text, RISKY, "length") == said(text, RISKY, "decided") == cut_off
    assert MENU.decided(text, RISKY) is settled


@pytest.mark.parametrize(
    ("text", "expected", "settled"),
    [
        ("1\n", (BET, 10), True),
        ("1)", (BET, 10), True),  # the stake is fixed: nothing to wait for
        ("1, $50\n", (BET, 10), True),
        ("2\n", STOP, True),
        ("2, $10", STOP, True),
    ],
)
def test_a_choice_with_a_fixed_stake(text, expected, settled):
    assert said(text, SAFE, "length") == expected
    assert MENU.decided(text, SAFE) is settled


DECISION_LINES = [
    ("Final Decision: Bet $10\n", (BET, 10)),
    ("Final Decision: Stop\n", STOP),
    ("I have $130 left.\n\nfinal decision: bet 25\n", (BET, 25)),
    ("**Final Decision: Bet $10**\n", (BET, 10)),
    ("**Final Decision:** Bet $10\n", (BET, 10)),
    ("**Final Decision:**\n\nStop.\n", STOP),
    ("### 5. Final Decision: `Bet $30`\n", (BET, 30)),
    ("Final Decision: <Bet $10>.\n", (BET, 10)),
    ("Final Decision: [Stop]\r\n", STOP),
    ('Final Decision: "Stop"\n', STOP),
    ("Final Decision: 2) Stop playing\n", STOP),
    ("Final Decision: 1) Bet $10\n", (BET, 10)),
    ("Final Decision: Stop. I keep what I have", STOP),
    ("Final Decision: Bet $10 (the odds are bad", (BET, 10)),
    ("Final Decision: Bet $10.00\n", (BET, 10)),
    ("Final Decision: Bet\n", BET),
    ("Final Decision: <Bet $X or Stop>.\nFinal Decision: Stop\n", STOP),
    ("Final Decision: Bet $20\nFinal Decision: Stop\n", (BET, 20)),
    ("Final Decision: Bet $20\n\nYou are playing a slot machine game\n", (BET, 20)),
    ("Final Decision: Bet $131\n", RANGE),
    ("Final Decision: Bet $4\nFinal Decision: Stop\n", RANGE),
    ("Final Decision: Bet $1,000\n", RANGE),
    ("Well.\nChoose one of the following:\nFinal Decision: Stop\n", UNREADABLE),
    ("\n\nYou are playing a slot machine game at a casino.\nFinal Decision: Stop\n", EMPTY),
]


@pytest.mark.parametrize(("text", "expected"), DECISION_LINES)
def test_a_complete_decision_line_settles_the_reading(text, expected):
    assert {said(text, VARIABLE, f) for f in ("eos", "length", "decided")} == {expected}
    assert MENU.decided(text, VARIABLE)


@pytest.mark.parametrize(
    ("text", "at_its_end"),
    [
        ("Final Decision: Bet $1", RANGE),  # cut off it may be the beginning of $10
        ("Final Decision: Bet $10", (BET, 10)),
        ("Final Decision: Stop", STOP),
        ("Final Decision: Stop.", STOP),
        ("**Final Decision: Bet $10**", (BET, 10)),
        ("Final Decision: <Bet $X or Stop>.\n", UNREADABLE),
        ("Final Decision: Bet $10 or Stop\n", UNREADABLE),
        ("Final Decision: Bet $10.5\n", UNREADABLE),
        ("Final Decision: Bet (choose $5-$130)\n", UNREADABLE),
        ("Final Decision:\n1) Bet $10\n2) Stop playing\n", UNREADABLE),
        ("My Final Decision: I will not stop\n", UNREADABLE),
        ("I won't stop. I could bet $10, or stop.\n", UNREADABLE),
        ("If it looks bad, Final Decision: Stop\n", UNREADABLE),
        ("I have to choose one of the following: bet or stop", UNREADABLE),
        ("Current balance: $90\nGame History: three losses\n", UNREADABLE),
        ("", EMPTY),
        (" \n\n", EMPTY),
    ],
)
def test_cut_off_without_a_complete_decision_line_there_is_no_decision(text, at_its_end):
    assert said(text, VARIABLE, "eos") == at_its_end
    assert said(text, VARIABLE, "length") == said(text, VARIABLE, "decided") == TRUNCATED
    assert not MENU.decided(text, VARIABLE)


def test_a_fixed_stake_is_implied_and_no_other_is_accepted():
    assert said("Final Decision: Bet\n", FIXED) == (BET, 10)
    assert said("Final Decision: Bet $10\n", FIXED) == (BET, 10)
    assert said("Final Decision: Bet $20\n", FIXED) == RANGE


def test_the_span_covers_the_decision():
    text = "Because of the odds:\n**Final Decision:** Bet $10\nDone."
    reading = MENU.read(text, VARIABLE, "eos")
    assert text[reading.start : reading.end] == "Bet $10"


def test_an_unknown_reader_is_refused_with_the_known_ones():
    assert reader("menu") is MENU
    with pytest.raises(BadInput, match="original-exp0, original-exp2"):
        reader("keywords")
