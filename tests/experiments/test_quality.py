"""The gate on responses: when it judges, which responses it judges, and what it says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pitboss.errors import PoorResponses
from pitboss.experiments.games.settings import GamesSettings
from pitboss.experiments.registry import parse_study
from pitboss.experiments.runtime.experiment import Experiment, Stages
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.quality import Gate
from pitboss.experiments.runtime.unit import Unit
from pitboss.store import Store, table_of
from tests.experiments.small import ALIAS, Whole
from tests.store.samples import identity, key, store, trial

CUT_OFF = {"decision": "none", "reason": "truncated", "finish": "length"}
UNREADABLE = {"decision": "none", "reason": "unreadable", "finish": "eos"}
MODEL = {"id": "pitboss/lab-llama", "sae": "pitboss/lab-llama-scope"}


class Judged(Experiment[GamesSettings]):
    """Judged by trials; what is to be done is set from outside, stage by stage."""

    judged = "trials"
    planned: Sequence[Sequence[Unit]] = ()

    def stages(self, model: str) -> Stages:
        yield from self.planned


def experiment(here: Store, quality: dict[str, Any] | None, *planned: Sequence[Unit]) -> Judged:
    study = {"name": "small", "seed": 1, "models": {ALIAS: MODEL}, "quality": quality}
    study["experiments"] = {"asked": {"kind": "games", "models": [ALIAS]}}
    made = Plan(parse_study(study), here, {"games": Judged})["asked"]
    assert isinstance(made, Judged)
    made.planned = planned
    return made


def unit(number: int, **more: Any) -> Unit:
    made = Unit("asked", "asked", "trials", f"llama/L{number:02d}", identity(number) | more, None)
    assert more or made.key == key(number)
    return made


def commit(here: Store, which: Unit, *changes: dict[str, Any]) -> Unit:
    """A finished unit with one row for each of the changes."""
    number = int(which.slug[-2:])
    rows = [trial(number, row, **changed) for row, changed in enumerate(changes)]
    here.commit("trials", which.key, table_of("trials", rows), identity=which.identity)
    return which


def gate(here: Store, *planned: Sequence[Unit], **limits: Any) -> Gate:
    """Of an experiment of which more is to come, unless it is planned otherwise."""
    return Gate(experiment(here, {"after": 20, **limits}, *(planned or [[unit(9)]])), ALIAS)


def test_it_judges_from_so_many_responses_on_and_says_what_to_do(tmp_path: Path) -> None:
    here = store(tmp_path)
    judging = gate(here)
    judging.add(commit(here, unit(0), *[CUT_OFF] * 15, {}, {}, {}, {}))  # 19: too few
    with pytest.raises(PoorResponses) as refused:
        judging.add(commit(here, unit(1), {}, UNREADABLE))
    said = str(refused.value)
    assert "Of the first 21 responses of asked, exp2/safe, 24% state" in said
    assert "71% were cut off" in said and "15 truncated, 1 unreadable" in said
    assert "sampling.max_new_tokens" in said and "pitboss export small trials" in said
    assert "quality: null" in said


def test_at_the_end_it_judges_however_few(tmp_path: Path) -> None:
    here, few = store(tmp_path), unit(0)
    judging = gate(here, [few], [Unit("asked", "asked", "effects", "llama", {}, None)])
    commit(here, few, *[UNREADABLE] * 6)
    with pytest.raises(PoorResponses, match=r"first 6 responses.*choose the reader or the prompt"):
        judging.follow([few])


def test_the_end_of_a_stage_is_not_the_end(tmp_path: Path) -> None:
    """As batches of the pathway follow from each other, each a stage of its own."""
    here, first, second = store(tmp_path), unit(0), unit(1)
    judging = gate(here, [first], [second])
    commit(here, first, *[UNREADABLE] * 10)
    judging.follow([first])
    commit(here, second, {}, UNREADABLE)
    with pytest.raises(PoorResponses, match="first 12 responses"):
        judging.follow([second])


def test_the_end_of_what_was_counted_as_it_came_is_judged_as_well(tmp_path: Path) -> None:
    here, only = store(tmp_path), unit(0)
    judging = gate(here, [only])
    judging.add(commit(here, only, *[UNREADABLE] * 6))  # not the end, for all that this says
    with pytest.raises(PoorResponses, match="first 6 responses"):
        judging.follow([only])


def test_it_says_where_only_responses_without_a_patch_are_judged(tmp_path: Path) -> None:
    here, only = store(tmp_path), unit(0, baseline=True)
    with pytest.raises(PoorResponses, match="20 responses of asked without a patch, exp2"):
        gate(here).add(commit(here, only, *[UNREADABLE] * 20))


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
    done = commit(here, unit(0), *[CUT_OFF] * 10, *[{}] * 10)
    if not stops:
        return gate(here, **limits).add(done)
    with pytest.raises(PoorResponses):
        gate(here, **limits).add(done)


def test_each_scene_is_judged_by_itself(tmp_path: Path) -> None:
    here = store(tmp_path)
    risky = {"scene": "exp2/risky", "prompt": "exp2/risky"}
    with pytest.raises(PoorResponses) as refused:
        gate(here).add(commit(here, unit(0), *[{}] * 40, *[{**risky, **UNREADABLE}] * 20))
    assert "exp2/risky, 0% state" in str(refused.value)
    assert "exp2/safe" not in str(refused.value)


def test_units_of_others_are_followed_until_all_are_there(tmp_path: Path) -> None:
    here, units = store(tmp_path), [unit(0), unit(1)]
    judging = gate(here, units)
    judging.follow(units)  # nothing is there
    commit(here, units[0], *[UNREADABLE] * 10)
    judging.follow(units)  # ten responses, and more will come
    judging.follow(units)  # which count once
    commit(here, units[1], {}, UNREADABLE)
    with pytest.raises(PoorResponses, match="first 12 responses"):
        judging.follow(units)


def test_without_limits_nothing_is_judged(tmp_path: Path) -> None:
    here, only = store(tmp_path), unit(0)
    judging = Gate(experiment(here, None, [only]), ALIAS)
    judging.add(commit(here, only, *[UNREADABLE] * 40))
    judging.follow([only])


def test_responses_as_in_the_demo_pass(whole: Whole) -> None:
    assert whole.study.quality is not None
    for name in ("games", "pathway", "patching"):
        judged = whole.plan[name]
        stages, _ = whole.plan.known(judged, ALIAS)
        every = [unit for stage in stages for unit in stage.units]
        assert any(judged.judges(unit) for unit in every)
        assert name != "patching" or not all(judged.judges(unit) for unit in every)
        judging = Gate(judged, ALIAS)
        for stage in stages:
            judging.follow(stage.units)
