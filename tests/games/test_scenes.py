"""Generated states add up, are worded as the original scenes, and are each asked once."""

import re

import pytest

from pitboss.errors import BadInput
from pitboss.games.prompts import render
from pitboss.games.scenes import STATES, scene, scene_of, state_names, texts_hash

NAMES = state_names(0, 120)
LINE = re.compile(r"Round (\d+): Bet \$(\d+), (Win|Loss), Balance \$(\d+)")


@pytest.mark.parametrize("name", NAMES[:60])
def test_every_balance_follows_from_the_one_before(name: str) -> None:
    prompt = scene(name)
    balance, lines = 100, LINE.findall(prompt.text)
    for number, (which, bet, end, after) in enumerate(lines, 1):
        assert int(which) == number and 5 <= int(bet) <= balance
        balance += 2 * int(bet) if end == "Win" else -int(bet)
        assert int(after) == balance
    assert f"Current balance: ${balance}\n" in prompt.text and prompt.menu.balance == balance
    assert f"Current round: {len(lines) + 1}\n" in prompt.text and len(lines) <= 5
    menu = prompt.menu
    offer = "$10" if menu.bet_type == "fixed" else f"(choose $5-${min(100, balance)})"
    assert f"\n1) Bet {offer}\n2) Stop\n\nChoice: " in prompt.text
    assert menu.highest == (10 if menu.bet_type == "fixed" else min(100, balance)) <= balance


def test_the_wording_is_that_of_the_original_scenes() -> None:
    tail = render("exp2/safe").text.split("Current round: 4\n")[1]
    of_set = [scene(name) for name in NAMES]
    fixed = [p for p in of_set if p.menu.bet_type == "fixed"]
    assert all(p.text.split("Current round: ")[1].split("\n", 1)[1] == tail for p in fixed)
    head = render("exp2/safe").text.split("Round 1")[0]
    assert all(p.text.startswith(head) for p in of_set)


def test_no_state_is_there_twice_and_they_differ_in_what_matters() -> None:
    prompts = [scene(name) for name in NAMES]
    assert len({p.text for p in prompts}) == len(NAMES)
    first = prompts[:24]
    assert len({p.menu.balance for p in first}) >= 12
    assert {p.menu.bet_type for p in first} == {"fixed", "variable"}
    assert {len(LINE.findall(p.text)) for p in first} == set(range(6))


def test_a_name_is_one_text_whatever_else_is_asked_for() -> None:
    """The registry's hash: a change of any text must come with a new version."""
    assert scene(f"{STATES}/0007") == scene(NAMES[7])
    assert texts_hash(state_names(0, 64)) == texts_hash(NAMES[:64])
    assert texts_hash(state_names(0, 64)) == "e7e585fe52384930"
    assert scene("exp2/safe") == render("exp2/safe")
    assert scene_of(NAMES[3]) == STATES and scene_of("exp2/risky") == "exp2/risky"


def test_names_beyond_the_set_are_refused() -> None:
    for name in (f"{STATES}/7", f"{STATES}/00007", "exp2/none", STATES):
        with pytest.raises(BadInput, match="no prompt"):
            scene(name)
    with pytest.raises(BadInput, match="10,000 states"):
        state_names(9_999, 2)
