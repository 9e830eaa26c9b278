"""A watch says of every text so far what ``decided`` says of it, in any company of steps."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitboss.games.reading import READERS

from .test_decided import CHOICE_PIECES, LEGACY_PIECES, LINE_PIECES, MENUS

ENDINGS = [
    "\n\nFinal Decision: Bet $10\n",
    "\nFinal Decision:\n \n\n**Stop**\n\nChoose one of the following:",
    "\n## Final Decision: Bet $10. I am sure",
    "\n\nYou are playing a slot machine game at a casino.",
]


def assert_agree(chosen, menu, texts):
    """A watch over the growing texts is asked each in turn, ``decided`` each by itself."""
    watch = chosen.watch(menu)
    assert [watch(text) for text in texts] == [chosen.decided(text, menu) for text in texts]


@pytest.mark.parametrize("menu", MENUS)
@pytest.mark.parametrize("name", READERS)
def test_a_watch_agrees_at_every_step(name, menu):
    chosen, offered = READERS[name], MENUS[menu]
    if name != "menu":
        pieces = LEGACY_PIECES
    else:
        pieces = CHOICE_PIECES if offered.style == "choice" else LINE_PIECES
    piece = st.one_of(st.sampled_from(pieces), st.sampled_from(pieces), st.text(max_size=4))
    decided = []

    @settings(max_examples=600 if name == "menu" else 100, deadline=None, derandomize=True)
    @given(st.lists(piece, max_size=14))
    def holds(parts):
        texts = ["".join(parts[:n]) for n in range(1, len(parts) + 1)]
        assert_agree(chosen, offered, texts)
        decided.extend(text for text in texts if chosen.decided(text, offered))

    holds()
    assert len(decided) > 30


@pytest.mark.parametrize("name", ["menu", "original-exp0"])
def test_a_watch_agrees_on_the_real_responses(name, choice_trials, truncated_reasoning):
    chosen, draw = READERS[name], random.Random(3)
    texts = [(row["prompt_type"], row["response"]) for row in choice_trials[::60]]
    for n, row in enumerate(truncated_reasoning[::4]):
        texts.append(("variable", row["response"] + ENDINGS[n % len(ENDINGS)]))
    settled = 0
    for menu, text in texts:
        cuts, at = [], 0
        while at < len(text):
            at += draw.randint(1, 9)
            cuts.append(text[:at])
        assert_agree(chosen, MENUS[menu], cuts)
        settled += chosen.decided(text, MENUS[menu])
    assert settled > 0.3 * len(texts)


@pytest.mark.parametrize("name", READERS)
def test_another_response_is_looked_at_afresh(name):
    menu = MENUS["variable"]
    watch = READERS[name].watch(menu)
    assert not watch("I would rather wait\n")
    assert watch("Final Decision: Stop\nI stop 2)")
    assert not watch("Final Decision: Be")
    assert not watch("\n\n")
