"""Which decisions are compared, how often each counts, and at equal values of what."""

import numpy as np
import pandas as pd
import pytest

from pitboss.errors import BadInput, Mismatch
from pitboss.experiments.selection.comparison import design
from pitboss.experiments.selection.groups import adjusting, distinct_states
from pitboss.experiments.selection.settings import SelectionSettings

DECISIONS = pd.DataFrame(
    [
        ("g1/1", "a", "safe", 100, 1, 0),
        ("g2/1", "a", "safe", 100, 1, 0),  # the same prompt as in g1
        ("g3/1", "a", "risky", 100, 1, 0),  # and once more, by a game that ended otherwise
        ("g4/3", "b", "risky", 20, 3, 1),
        ("g5/3", "c", "safe", 20, 3, 1),
        ("g6/5", "d", "risky", 40, 5, 1),
        ("g7/6", "e", "safe", 120, 6, 0),
        ("g8/2", "f", "safe", 90, 2, 1),
        ("g9/1", "g", "safe", 100, 1, 1),
    ],
    columns=["key", "prompt_sha256", "group", "balance", "round", "variable"],
).assign(prompt_text=lambda rows: rows["prompt_sha256"])


def settings(**fields: object) -> SelectionSettings:
    fixed = {"kind": "selection", "model": "llama", "games": "games", "layers": [0]}
    return SelectionSettings(**(fixed | fields))  # type: ignore[arg-type]


def test_each_prompt_is_computed_once_and_knows_how_often_it_was_shown() -> None:
    states = distinct_states(DECISIONS)
    assert states["prompt_sha256"].tolist() == list("abcdefg")
    assert states["key"].tolist() == [
        "g1/1",
        *(f"g{n}" for n in ("4/3", "5/3", "6/5", "7/6", "8/2", "9/1")),
    ]
    assert states["safe"].tolist() == [2, 0, 1, 0, 1, 1, 1]
    assert states["risky"].tolist() == [1, 1, 0, 1, 0, 0, 0]
    astray = DECISIONS.assign(balance=DECISIONS["balance"] + (DECISIONS["key"] == "g2/1"))
    with pytest.raises(Mismatch, match="1 prompts were shown at different balances"):
        distinct_states(astray)


def test_a_prompt_counts_once_in_a_group_or_as_often_as_it_was_shown() -> None:
    states = distinct_states(DECISIONS)
    for count, rows in (("states", [2] + 6 * [1]), ("decisions", [3] + 6 * [1])):
        made = design(settings(count=count, covariates=["balance"]), states)
        assert made is not None
        np.testing.assert_array_equal(made.rows, rows)
        assert (made.n_risky, made.n_safe) == (3, sum(rows) - 3)
    assert design(settings(adjust="none"), states) is None


def test_matched_keeps_the_cells_with_both_groups_and_refuses_where_there_are_none() -> None:
    made = design(settings(adjust="matched"), distinct_states(DECISIONS))
    assert made is not None
    np.testing.assert_array_equal(made.rows, [2, 1, 1, 0, 0, 0, 1])
    assert (made.cells, made.n_risky, made.n_safe) == (2, 2, 3)
    apart = DECISIONS[DECISIONS["key"].isin(["g1/1", "g4/3", "g6/5", "g7/6"])]
    with pytest.raises(BadInput, match="None of 4 cells"):
        design(settings(adjust="matched"), distinct_states(apart))


def test_what_the_numbers_depend_on_is_in_the_key_and_nothing_else() -> None:
    assert adjusting(settings(adjust="none", errors="classical")) == {}
    keys = [
        adjusting(settings(**fields))
        for fields in (
            {},
            {"adjust": "matched"},
            {"count": "decisions"},
            {"errors": "classical"},
            {"covariates": ["balance"]},
        )
    ]
    assert all(a != b for i, a in enumerate(keys) for b in keys[:i])
    assert adjusting(settings(per_layer=3)) == keys[0]
