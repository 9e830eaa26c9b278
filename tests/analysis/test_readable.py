"""What counts as a stated decision, on responses whose counts are known."""

import pandas as pd

from pitboss.analysis.readable import COLUMNS, Stated, stated

RESPONSES = pd.DataFrame(
    [
        ("bet", None, "decided"),
        ("stop", None, "eos"),
        ("stop", None, "length"),  # decided at once, then wrote on to the limit
        ("none", "truncated", "length"),
        ("none", "truncated", "length"),
        ("none", "unreadable", "eos"),
        ("none", "unreadable", "length"),
        ("bet", "unreadable", "length"),  # an original reader's bet of $10
        ("stop", "empty", "eos"),  # and its stop for no answer at all
    ],
    columns=COLUMNS,
)


def test_a_decision_is_stated_unless_it_is_none_or_made_up() -> None:
    found = stated(RESPONSES)
    assert (found.responses, found.readable) == (9, 3)
    assert found.reasons == {"empty": 1, "truncated": 2, "unreadable": 3}
    assert found.cut_off == 4  # of those without a decision only
    assert found.as_dict()["rate"] == 3 / 9


def test_parts_add_up_to_the_whole() -> None:
    parts = [stated(RESPONSES[start : start + 4]) for start in range(0, len(RESPONSES), 4)]
    assert sum(parts, Stated()) == stated(RESPONSES)
    assert Stated().as_dict() == {
        "valid": 0, "responses": 0, "rate": None, "reasons": {}, "cut_off": 0,
    }  # fmt: skip
