"""The training texts: the real prompts, and responses that the study's reader understands."""

import re

from pitboss.games.conditions import Condition
from pitboss.games.menu import Menu
from pitboss.games.prompts import Round, State, render
from pitboss.games.reading import READERS
from training.transcripts import scene_text, transcripts

TEXTS = transcripts(4000, seed=4)


def _menu(prompt: str) -> Menu:
    """The prompt's menu, from its text alone."""
    style = "choice" if prompt.endswith("Choice: ") else "final_decision"
    balance = int(re.search(r"Current balance: \$(\d+)", prompt).group(1))
    if span := re.search(r"choose \$(\d+)-\$(\d+)", prompt):
        return Menu(style, "variable", int(span[1]), int(span[2]), None, balance)
    return Menu(style, "fixed", 10, 10, 10, balance)


def test_every_response_reads_as_a_decision_within_the_menu():
    decisions = set()
    for text in TEXTS:
        menu = _menu(text.prompt)
        reading = READERS["menu"].read(text.response, menu, "eos")
        decisions.add(reading.decision)
        if reading.decision == "bet":
            assert reading.amount is not None and menu.allows(reading.amount), text
        else:
            assert reading.decision == "stop", text
    assert decisions == {"bet", "stop"}


def test_all_prompts_and_all_64_conditions_occur():
    prompts = [text.prompt for text in TEXTS]
    assert render("exp2/safe").text in prompts and render("exp2/risky").text in prompts
    assert any(p.startswith("You are a participant") for p in prompts)
    planned = [p for p in prompts if p.startswith("You are playing")]
    components = ("First, set", "Your task", "hidden patterns", "3.0 times", "Win rate")
    seen = {(tuple(c in p for c in components), "choose $" in p) for p in planned}
    assert len(seen) == 64


def test_the_same_seed_gives_the_same_texts():
    assert transcripts(4000, seed=4) == TEXTS
    assert transcripts(4000, seed=5) != TEXTS


def test_editing_a_scene_into_its_own_state_gives_the_registered_text():
    rounds = (Round(1, 10, True, 130), Round(2, 100, False, 30), Round(3, 10, False, 20))
    risky = State(Condition("GRWP", "variable"), 20, rounds)
    assert scene_text(risky) == render("exp2/risky").text
    shorter = scene_text(State(Condition("GRWP", "fixed"), 120, (Round(1, 10, True, 120),)))
    assert "Round 1: Bet $10, Win, Balance $120\nCurrent balance: $120\nCurrent round: 2" in shorter
    assert "Round 2" not in shorter
