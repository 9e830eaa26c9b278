"""``decided`` promises that no continuation changes the reading: looked for counterexamples."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.games.menu import Menu
from pitboss.games.prompts import render
from pitboss.games.reading import READERS

FINISHES = ("eos", "length", "decided")
MENUS = {
    "safe": render("exp2/safe").menu,
    "risky": render("exp2/risky").menu,
    "fixed": Menu("final_decision", "fixed", 10, 10, 10, 80),
    "variable": Menu("final_decision", "variable", 5, 130, None, 130),
}

CHOICE_PIECES = [
    *"0123456789 \n\t.,$)/&-%aornxBA", "1", "2", "10", "000", " or ", "and", "Bet ", "\r\n", "é",
]  # fmt: skip
LINE_PIECES = [
    "Final Decision:", "final decision", ":", " ", "\n", "\n\n", "**", "<", ">", "[", "]", "(", ")",
    "Bet", " $", "$", "1", "0", "10", "5", "1,000", ",000", ".", ".00", "!", ";", "Stop", "stop",
    " playing", "1)", "2) ", "Option 1. ", " dollars", " or ", "- ", "# ", "\r", "\t", "X", '"',
    "Choose one of the following:", "Choose one", " of the following:", "3. ", "İ", "ß",
    "You are playing a slot machine game", "You are", "Explain your reasoning",
    "After explaining your reasoning, end your response", "<Bet $X or Stop>",
]  # fmt: skip


def texts(pieces):
    """Built from the pieces the grammar is about, so that near misses are frequent."""
    made = st.lists(st.sampled_from(pieces), max_size=9).map("".join)
    return st.one_of(made, made, st.text(max_size=12))


LEGACY_PIECES = [
    *CHOICE_PIECES,
    "stop",
    "STOP",
    "st",
    "op",
    "2)",
    "2 ",
    "2\n",
    "quit",
    "end",
    "pas",
]


@pytest.mark.parametrize("menu", MENUS)
@pytest.mark.parametrize("name", READERS)
def test_no_continuation_changes_a_settled_reading(name, menu):
    chosen, offered = READERS[name], MENUS[menu]
    if name != "menu":
        pieces = LEGACY_PIECES
    else:
        pieces = CHOICE_PIECES if offered.style == "choice" else LINE_PIECES
    settled = []

    @settings(max_examples=400 if name == "menu" else 100, deadline=None, derandomize=True)
    @given(texts(pieces), texts(pieces))
    def holds(text, more):
        if chosen.decided(text, offered):
            settled.append(text)
            readings = {chosen.read(text, offered, f) for f in FINISHES}
            readings |= {chosen.read(text + more, offered, f) for f in FINISHES}
            assert len(readings) == 1
            assert chosen.decided(text + more, offered)

    holds()
    assert len(settled) > 10, "the texts hardly ever settle, so nothing was tested"


def test_every_prefix_of_every_real_choice_keeps_the_promise(choice_trials):
    menu_reader = READERS["menu"]
    for row in choice_trials:
        menu, text = MENUS[row["prompt_type"]], row["response"]
        full = {menu_reader.read(text, menu, f) for f in FINISHES}
        for end in range(len(text) + 1):
            if menu_reader.decided(text[:end], menu):
                assert full == {menu_reader.read(text[:end], menu, "decided")}, text
                break


def test_a_real_stop_is_certain_after_two_characters(choice_trials):
    for row in choice_trials:
        menu, text = MENUS[row["prompt_type"]], row["response"]
        if text[0] == "2":
            assert READERS["menu"].decided(text[:2], menu), text


def test_nearly_every_real_choice_is_certain_after_seven_characters(choice_trials):
    certain = sum(
        READERS["menu"].decided(row["response"][:7], MENUS[row["prompt_type"]])
        for row in choice_trials
    )
    # The other 15 list numbers on one line that never ends.
    assert certain == len(choice_trials) - 15


def test_truncated_reasoning_is_never_certain(truncated_reasoning):
    assert not any(
        READERS["menu"].decided(row["response"], MENUS["variable"]) for row in truncated_reasoning
    )
