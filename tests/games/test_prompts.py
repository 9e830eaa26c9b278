import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.errors import BadInput
from pitboss.games import wording
from pitboss.games.conditions import ALL_CONDITIONS, Condition
from pitboss.games.prompts import PROMPTS, Round, Rules, State, prompt_set_hash, render

GOLDEN = Path(__file__).parent / "golden"

FOUR_LOSSES = tuple(Round(n, 10, False, 100 - 10 * n) for n in range(1, 5))
SEVEN_ROUNDS = (
    Round(1, 10, False, 90),
    Round(2, 20, True, 130),
    Round(3, 5, False, 125),
    Round(4, 10, False, 115),
    Round(5, 15, False, 100),
    Round(6, 100, True, 300),
    Round(7, 30, False, 270),
)


def state(key, balance, rounds=()):
    return State(Condition.parse(key), balance, tuple(rounds))


GOLDEN_STATES = {
    "exp0_planned-fixed_BASE-start": ("exp0/planned", state("fixed/BASE", 100)),
    "exp0_planned-variable_GMRWP-start": ("exp0/planned", state("variable/GMRWP", 100)),
    "exp0_planned-variable_GM-seven_rounds": (
        "exp0/planned",
        state("variable/GM", 270, SEVEN_ROUNDS),
    ),
    "exp0_planned-fixed_RP-four_losses": ("exp0/planned", state("fixed/RP", 60, FOUR_LOSSES)),
    "exp0_role-variable_GR-start": ("exp0/role", state("variable/GR", 100)),
    "exp0_role-fixed_W-one_win": ("exp0/role", state("fixed/W", 120, [Round(1, 10, True, 120)])),
    "exp2_safe": ("exp2/safe", None),
    "exp2_risky": ("exp2/risky", None),
    "exp2_game-variable-start": ("exp2/game", state("variable/GRWP", 100)),
    "exp2_game-fixed-seven_rounds": ("exp2/game", state("fixed/GRWP", 270, SEVEN_ROUNDS)),
    "exp5_original-start": ("exp5/original", state("variable/BASE", 100)),
    "exp5_original-two_rounds": ("exp5/original", state("variable/BASE", 130, SEVEN_ROUNDS[:2])),
}


@pytest.mark.parametrize("golden", GOLDEN_STATES)
def test_every_letter_is_as_in_the_original(golden):
    name, given_state = GOLDEN_STATES[golden]
    expected = (GOLDEN / f"{golden}.txt").read_bytes().decode("utf-8")
    assert render(name, given_state).text == expected


def test_every_prompt_and_every_golden_file_is_compared():
    assert {p.stem for p in GOLDEN.glob("*")} == set(GOLDEN_STATES)
    assert {name for name, _ in GOLDEN_STATES.values()} == set(PROMPTS)


def test_the_warning_counts_losses_beyond_the_five_rounds_shown():
    rounds = [Round(n, 5, False, 100 - 5 * n) for n in range(1, 8)]
    text = render("exp0/planned", state("fixed/BASE", 65, rounds)).text
    assert "⚠️ Currently 7 consecutive losses.\n" in text
    assert "Round 2:" not in text and "Round 3:" in text


def test_two_losses_are_no_warning():
    assert "consecutive" not in render("exp0/planned", state("fixed/G", 80, FOUR_LOSSES[:2])).text


@given(st.sampled_from(ALL_CONDITIONS), st.integers(5, 5000))
def test_the_menu_offers_exactly_what_the_text_offers(condition, balance):
    prompt = render("exp0/planned", State(condition, balance))
    menu = prompt.menu
    offer = re.search(r"^1\) Bet (.*)$", prompt.text, re.MULTILINE)[1]
    if condition.bet_type == "fixed":
        assert offer == f"${menu.fixed_bet}" == "$10"
    else:
        assert offer == f"(choose ${menu.min_bet}-${menu.max_bet})" == f"(choose $5-${balance})"
        assert menu.allows(balance) and menu.allows(5)
    assert not menu.allows(balance + 1) and not menu.allows(4)
    assert f"Current balance: ${balance}\n" in prompt.text


def test_the_risky_scene_offers_more_than_can_be_paid():
    menu = render("exp2/risky").menu
    assert (menu.max_bet, menu.balance, menu.highest) == (100, 20, 20)
    assert menu.allows(20) and not menu.allows(21)


def test_the_text_states_the_rules_that_are_played():
    rules = Rules(start=50, win_rate=0.25, payout=4.0)
    text = render("exp0/planned", State(Condition("WP", "fixed"), 50, (), rules)).text
    assert "Initial funds: $50\n" in text
    assert "you receive 4.0 times your" in text and "Win rate: 25%\n" in text


@pytest.mark.parametrize(
    ("name", "given_state", "says"),
    [
        ("exp9", None, "exp0/planned"),
        ("exp0/planned", None, "needs a state"),
        ("exp2/safe", state("fixed/G", 100), "its own state"),
        ("exp0/planned", state("fixed/G", 0), "decides nothing"),
        ("exp5/original", state("variable/G", 100), "variable/BASE"),
    ],
)
def test_what_cannot_be_rendered_is_refused(name, given_state, says):
    with pytest.raises(BadInput, match=says):
        render(name, given_state)


def test_the_set_hash_depends_on_the_set_and_not_on_its_order():
    both = prompt_set_hash(["exp2/safe", "exp2/risky"])
    assert both == prompt_set_hash(["exp2/risky", "exp2/safe", "exp2/safe"])
    assert re.fullmatch("[0-9a-f]{16}", both)
    assert len({both, prompt_set_hash(["exp2/safe"]), prompt_set_hash(PROMPTS)}) == 3


def test_the_set_hash_changes_with_one_letter(monkeypatch):
    before = prompt_set_hash(["exp0/planned"])
    lines = wording._COMPONENT_LINES | {"R": "This slot machine may have hidden pattern."}
    monkeypatch.setattr(wording, "_COMPONENT_LINES", lines)
    assert prompt_set_hash(["exp0/planned"]) != before


def test_the_set_hash_refuses_an_unknown_prompt():
    with pytest.raises(BadInput, match="exp9"):
        prompt_set_hash(["exp9"])
