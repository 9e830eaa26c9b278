from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitboss.errors import BadInput
from pitboss.games.conditions import ALL_CONDITIONS, COMPONENTS, Condition


def test_there_are_64_different_conditions_half_of_them_fixed():
    assert len(set(ALL_CONDITIONS)) == len(ALL_CONDITIONS) == 64
    assert sum(c.bet_type == "fixed" for c in ALL_CONDITIONS) == 32


def test_the_order_never_changes():
    keys = [c.key for c in ALL_CONDITIONS]
    assert keys[:7] == [
        "fixed/BASE", "fixed/G", "fixed/M", "fixed/R", "fixed/W", "fixed/P", "fixed/GM",
    ]  # fmt: skip
    assert keys[31:34] == ["fixed/GMRWP", "variable/BASE", "variable/G"]
    assert keys[-1] == "variable/GMRWP"


@pytest.mark.parametrize("condition", ALL_CONDITIONS, ids=lambda c: c.key)
def test_a_key_reads_back_as_its_condition(condition):
    assert Condition.parse(condition.key) == condition


def test_only_one_of_all_spellings_is_accepted():
    accepted = []
    for letters in permutations(COMPONENTS):
        try:
            accepted.append(Condition.parse("fixed/" + "".join(letters)))
        except BadInput as error:
            assert "GMRWP" in str(error)
    assert accepted == [Condition("GMRWP", "fixed")]


@pytest.mark.parametrize(
    "key", ["", "fixed", "fixed/", "/G", "Fixed/G", "loose/G", "fixed/GG", "fixed/H", "G/fixed"]
)
def test_a_wrong_key_is_refused_with_the_way_to_write_it(key):
    with pytest.raises(BadInput, match="GMRWP"):
        Condition.parse(key)


@given(st.text(max_size=12))
def test_any_text_is_a_known_condition_or_refused(text):
    try:
        assert Condition.parse(text) in ALL_CONDITIONS
    except BadInput:
        assert text not in {c.key for c in ALL_CONDITIONS}
