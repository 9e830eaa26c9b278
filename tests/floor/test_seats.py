"""Every experiment on the GPUs that a person approved, and when the watch closes them."""

from dataclasses import replace
from pathlib import Path

import pytest

from flows.parts import Part, after_effects, until_patching
from pitboss.errors import BadInput
from pitboss.floor.memory.headroom import Limits
from pitboss.floor.memory.limits import FILE, limits_of, read_limits, write_limits
from pitboss.floor.memory.survey_file import read_survey
from pitboss.floor.planning.decision import Asked, Decision
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.offers import offers_of
from pitboss.floor.planning.options import propose
from pitboss.floor.planning.pool_assignment import seated
from pitboss.floor.planning.stated import read_stated
from pitboss.studies.loading import load_study
from pitboss.studies.model import Study

STUDIES = Path(__file__).parents[2] / "studies"
GB = 1_000_000_000
USUAL = Limits(35 * GB, 40 * GB)


@pytest.fixture(scope="module")
def study() -> Study:
    """The plan with a floor section that names a GPU which nobody approved."""
    plan = load_study(STUDIES / "plan.yaml")
    floor = plan.floor.model_copy(
        update={
            "games": dict.fromkeys(plan.games.models, "gpu-5"),
            "features": {"llama": "gpu-5"},
            "pathway": "gpu-5",
            "screening": "gpu-5",
            "patching": ["gpu-5"],
            "words": "gpu-5",
        }
    )
    return plan.model_copy(update={"floor": floor})


def decided(study: Study, option: str, **answers: str) -> Decision:
    survey = read_survey(STUDIES / "floors" / "plan.yaml")
    figures = read_stated(STUDIES / "floors" / "plan-figures.yaml")
    proposal = propose(survey, study_work(study, ["NVIDIA A100 80GB"], (), figures))
    asked = Asked("study", "Exp2-llama", survey, offers_of(proposal), proposal.recommended, "")
    given = {q.key: answers.get(q.key, "yes") for q in asked.questions if q.tenant}
    return Decision(asked, {"option": option, **given}, None, "2025-10-01T09:00:00Z", None, None)


def all_parts(study: Study) -> list[Part]:
    return [*until_patching(study), *after_effects(study)]


@pytest.mark.parametrize("option", ["A", "C", "D"])
def test_every_part_runs_on_a_gpu_that_the_option_names_for_it(study: Study, option: str) -> None:
    decision = decided(study, option)
    placed = {use.job: f"gpu-{use.gpu}" for use in decision.uses if use.job != "Exp2-llama"}
    parts = {part.name: part.pool for part in all_parts(seated(study, decision))}
    assert "gpu-5" not in parts.values()
    for part, job in {
        "games llama": "Exp0-llama",
        "games gemma": "Exp0-gemma",
        "features llama": "features-llama",
        "pathway": "Exp1-llama",
    }.items():
        assert parts[part] == placed[job]
    lanes = {pool for name, pool in parts.items() if name.startswith("patching")}
    assert lanes == {f"gpu-{gpu}" for gpu in decision.gpus}
    # These follow the patching, so no option has a place for them.
    assert {parts["words"], parts["screening"]} <= lanes


def test_a_gpu_that_may_not_be_shared_is_used_by_nothing(study: Study) -> None:
    decision = decided(study, "E", share_2_6_7="no")
    pools = {part.pool for part in all_parts(seated(study, decision))}
    assert pools and not pools & {"gpu-2", "gpu-5", "gpu-6", "gpu-7"}


def test_the_room_that_closes_a_gpu_follows_from_the_margin_approved(study: Study) -> None:
    decision = decided(study, "E")
    limits = limits_of(decision)
    assert set(limits) == {0, 1, 2, 3, 4, 6, 7}
    takes = {use.gpu: use.footprint for use in decision.uses if use.job == "Exp2-llama"}
    safe, marginal = 2, 6
    assert limits[safe].low == takes[safe] + 30 * GB  # it was safe beside m-soar
    assert limits[marginal].low == takes[marginal] + 10 * GB
    assert limits[marginal].restored == limits[marginal].low + 5 * GB
    # GPU 7 had 35.2 GB when it was approved: it must not need more to be opened again.
    assert limits[7].low < limits[7].restored == decision.asked.survey.gpu(7).free


def test_a_job_with_more_need_than_another_on_the_same_gpu_counts(study: Study) -> None:
    decision = decided(study, "A")
    more = tuple(
        replace(use, footprint=41 * GB) if use.job == "Exp0-gemma" else use
        for use in decision.offer.uses
    )
    offers = tuple(replace(offer, uses=more) for offer in decision.asked.offers)
    larger = replace(decision, asked=replace(decision.asked, offers=offers))
    (games,) = [use for use in larger.uses if use.job == "Exp0-gemma"]
    assert limits_of(larger)[games.gpu].low == (41 + 30) * GB


def test_limits_are_kept_for_the_watch(study: Study, tmp_path: Path) -> None:
    assert read_limits(tmp_path, [2, 5], USUAL) == {2: USUAL, 5: USUAL}
    limits = limits_of(decided(study, "C"))
    write_limits(tmp_path / "floor", limits)
    assert read_limits(tmp_path / "floor", [2, 5], USUAL) == {2: limits[2], 5: USUAL}
    (tmp_path / "floor" / FILE).write_text('{"2": {"low": 1')
    with pytest.raises(BadInput, match="approved limits cannot be read"):
        read_limits(tmp_path / "floor", [2], USUAL)
