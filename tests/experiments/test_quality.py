"""The gate on responses: when it judges, which responses it judges, and what it says."""

from pathlib import Path
from typing import Any

import pytest

from pitboss.errors import PoorResponses
from pitboss.experiments.games import experiment as games
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.pathway import experiment as pathway
from pitboss.experiments.runtime.quality import Gate
from pitboss.experiments.runtime.unit import Unit
from pitboss.store import Store, table_of
from pitboss.studies.loading import parse_study
from pitboss.studies.model import Study
from tests.experiments.small import ALIAS, Whole, settings
from tests.store.samples import identity, key, store, trial

CUT_OFF = {"decision": "none", "reason": "truncated", "finish": "length"}
UNREADABLE = {"decision": "none", "reason": "unreadable", "finish": "eos"}


def study(quality: dict[str, Any] | None) -> Study:
    return parse_study({**settings(), "quality": quality})


def unit(number: int) -> Unit:
    return Unit("patching", "trials", f"llama/L{number:02d}", identity(number), None)


def commit(here: Store, number: int, *changes: dict[str, Any]) -> Unit:
    """A finished unit with one row for each of the changes."""
    rows = [trial(number, row, **changed) for row, changed in enumerate(changes)]
    here.commit("trials", key(number), table_of("trials", rows), identity=identity(number))
    return unit(number)


def gate(here: Store, **limits: Any) -> Gate:
    return Gate(study({"after": 20, **limits}), here, "patching without a patch", "trials")


def test_it_judges_from_so_many_responses_on_and_says_what_to_do(tmp_path: Path) -> None:
    here = store(tmp_path)
    judging = gate(here)
    judging.add(commit(here, 0, *[CUT_OFF] * 15, {}, {}, {}, {}))  # 19: not enough to judge by
    with pytest.raises(PoorResponses) as refused:
        judging.add(commit(here, 1, {}, UNREADABLE))
    said = str(refused.value)
    assert "Of the first 21 responses of patching without a patch, exp2/safe, 24% state" in said
    assert "71% were cut off" in said and "15 truncated, 1 unreadable" in said
    assert "sampling.max_new_tokens" in said and "pitboss export small trials" in said
    assert "quality: null" in said


def test_at_the_end_it_judges_however_few(tmp_path: Path) -> None:
    here = store(tmp_path)
    judging = gate(here)
    judging.add(commit(here, 0, *[UNREADABLE] * 6))
    with pytest.raises(PoorResponses, match=r"first 6 responses.*choose the reader or the prompt"):
        judging.end()


@pytest.mark.parametrize(
    ("limits", "stops"),
    [
        # Of 20 responses 10 are read: between 27 % and 73 % of such ones.
        ({"readable": 0.72, "cut_off": 1.0}, False),
        ({"readable": 0.73, "cut_off": 1.0}, True),
        ({"readable": 0.0, "cut_off": 0.28}, False),
        ({"readable": 0.0, "cut_off": 0.27}, True),
    ],
)
def test_a_share_misses_its_limit_by_more_than_chance(
    tmp_path: Path, limits: dict[str, float], stops: bool
) -> None:
    here = store(tmp_path)
    done = commit(here, 0, *[CUT_OFF] * 10, *[{}] * 10)
    if not stops:
        return gate(here, **limits).add(done)
    with pytest.raises(PoorResponses):
        gate(here, **limits).add(done)


def test_each_scene_is_judged_by_itself(tmp_path: Path) -> None:
    here = store(tmp_path)
    risky = {"scene": "exp2/risky", "prompt": "exp2/risky"}
    with pytest.raises(PoorResponses) as refused:
        gate(here).add(commit(here, 0, *[{}] * 40, *[{**risky, **UNREADABLE}] * 20))
    assert "exp2/risky, 0% state" in str(refused.value)
    assert "exp2/safe" not in str(refused.value)


def test_units_of_others_are_followed_until_all_are_there(tmp_path: Path) -> None:
    here = store(tmp_path)
    judging, units = gate(here), [unit(0), unit(1)]
    judging.follow(units)  # nothing is there
    commit(here, 0, *[UNREADABLE] * 10)
    judging.follow(units)  # ten responses, and more will come
    judging.follow(units)  # which count once
    commit(here, 1, {}, UNREADABLE)
    with pytest.raises(PoorResponses, match="first 12 responses"):
        judging.follow(units)


def test_without_limits_nothing_is_judged(tmp_path: Path) -> None:
    here = store(tmp_path)
    judging = Gate(study(None), here, "games llama", "trials")
    judging.add(commit(here, 0, *[UNREADABLE] * 40))
    judging.end()


def test_responses_as_in_the_demo_pass(whole: Whole) -> None:
    assert whole.study.quality is not None
    for name, kind, done in (
        ("games llama", "decisions", games.units(whole.study, ALIAS)),
        ("pathway", "decisions", pathway.done_units(whole.study, whole.store)),
        ("patching", "trials", [patching.baseline_unit(whole.study)]),
    ):
        Gate(whole.study, whole.store, name, kind).follow(done)
