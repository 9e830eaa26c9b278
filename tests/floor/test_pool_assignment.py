"""Every experiment on the GPUs that a person approved, on the pools that are named, or on all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pitboss.errors import BadInput
from pitboss.floor.memory.headroom import FILE, Limits, read_limits, write_limits
from pitboss.floor.memory.survey_file import read_survey
from pitboss.floor.planning.approval import limits_of
from pitboss.floor.planning.decision import Asked, Decision
from pitboss.floor.planning.options import propose
from pitboss.floor.planning.pool_assignment import assign, seated
from pitboss.studies.model import Study
from tests.floor.plan_work import STUDIES, plan_study, plan_work, workloads

GB = 1_000_000_000
USUAL = Limits(35 * GB, 40 * GB)


@pytest.fixture(scope="module")
def study() -> Study:
    """The plan with a floor section that names a GPU which nobody approved."""
    return with_pools(plan_study(), dict.fromkeys(plan_study().experiments, "gpu-5"))


def with_pools(study: Study, pools: dict[str, Any]) -> Study:
    floor = study.floor.model_copy(update={"pools": pools})
    return study.model_copy(update={"floor": floor})


def decided(option: str, **answers: str) -> Decision:
    survey = read_survey(STUDIES / "floors" / "plan.yaml")
    asked = Asked("study", propose(survey, plan_work()))
    given = {q.key: answers.get(q.key, "yes") for q in asked.questions if q.tenant}
    return Decision(asked, {"option": option, **given}, None, "2025-10-01T09:00:00Z", None, None)


@pytest.mark.parametrize("option", ["A", "C", "D"])
def test_every_part_runs_on_a_gpu_that_the_option_names_for_it(study: Study, option: str) -> None:
    decision = decided(option)
    pools = seated(study, decision).floor.pools
    assert list(pools) == list(study.experiments)
    placed = {p.job: f"gpu-{p.gpu}" for p in decision.asked.proposal.besides}
    assert pools["games"] == {"llama": placed["Exp0-llama"], "gemma": placed["Exp0-gemma"]}
    assert pools["features"] == {"llama": placed["features-llama"]}
    assert pools["pathway"] == {"llama": placed["Exp1-llama"]}
    assert pools["screening"] == {"llama": placed["screening-llama"]}
    spread = [f"gpu-{gpu}" for gpu in decision.gpus]
    assert pools["patching"] == pools["confirmation"] == pools["clamped"] == spread
    # They follow the patching, so no option has a place for them.
    assert pools["words"]["llama"] in spread


def test_the_study_as_approved_is_one_that_may_be_assigned(study: Study) -> None:
    workers = [f"gpu-{n}" for n in range(8)]
    decision = decided("D")
    approved = seated(study, decision)
    assert not approved.problems()
    pools = assign(approved, workers)
    assert set(pools) == {(w.experiment, w.model) for w in workloads(study)}
    assert pools["patching", "llama"] == [f"gpu-{gpu}" for gpu in decision.gpus]


def test_a_gpu_that_may_not_be_shared_is_used_by_nothing(study: Study) -> None:
    approved = seated(study, decided("E", share_2_6_7="no"))
    pools = {p for each in assign(approved, [f"gpu-{n}" for n in range(8)]).values() for p in each}
    assert pools and not pools & {"gpu-2", "gpu-5", "gpu-6", "gpu-7"}


@pytest.mark.parametrize(
    ("workers", "games", "rest"),
    [
        (1, ["w0", "w0"], {"features": "w0", "pathway": "w0", "screening": "w0", "words": "w0"}),
        (2, ["w0", "w1"], {"features": "w0", "pathway": "w1", "screening": "w0", "words": "w1"}),
        (8, ["w0", "w1"], {"features": "w2", "pathway": "w3", "screening": "w4", "words": "w5"}),
    ],
)
def test_a_study_without_pools_uses_every_worker(
    workers: int, games: list[str], rest: dict[str, str]
) -> None:
    every = [f"w{n}" for n in range(workers)]
    pools = assign(with_pools(plan_study(), {}), every)
    assert [pools["games", model] for model in ("llama", "gemma")] == [[one] for one in games]
    assert {name: pools[name, "llama"] for name in rest} == {n: [w] for n, w in rest.items()}
    for shared in ("patching", "confirmation", "clamped"):
        assert pools[shared, "llama"] == every


def test_pools_that_the_study_names_come_first() -> None:
    study = with_pools(
        plan_study(),
        {
            "games": {"llama": "w2", "gemma": "w1"},
            "patching": ["w0", "w2"],
            "confirmation": "w1",
            "words": "w2",
        },
    )
    pools = assign(study, ["w0", "w1", "w2"])
    assert pools["games", "llama"] == ["w2"] and pools["games", "gemma"] == ["w1"]
    assert pools["patching", "llama"] == ["w0", "w2"]
    assert pools["confirmation", "llama"] == ["w1"] and pools["words", "llama"] == ["w2"]
    assert pools["clamped", "llama"] == ["w0", "w1", "w2"]


def test_a_pool_without_a_worker_is_named() -> None:
    study = with_pools(plan_study(), {"patching": ["w0", "gpu-7"]})
    with pytest.raises(BadInput, match="No worker is online for gpu-7, which carries out patching"):
        assign(study, ["w0", "w1"])
    with pytest.raises(BadInput, match="No worker is online"):
        assign(plan_study(), [])


def test_the_room_that_closes_a_gpu_follows_from_the_margin_approved() -> None:
    decision = decided("E")
    limits = limits_of(decision)
    assert set(limits) == {0, 1, 2, 3, 4, 6, 7}
    takes = {p.gpu: p.footprint for p in decision.placements if p.job == "Exp2-llama"}
    safe, marginal = 2, 6
    assert limits[safe].low == takes[safe] + 30 * GB  # it was safe beside m-soar
    assert limits[marginal].low == takes[marginal] + 10 * GB
    assert limits[marginal].restored == limits[marginal].low + 5 * GB
    # GPU 7 had 35.2 GB when it was approved: it must not need more to be opened again.
    assert limits[7].low < limits[7].restored == decision.asked.survey.gpu(7).free


def test_a_job_with_more_need_than_another_on_the_same_gpu_counts() -> None:
    decision = decided("A")
    proposal = decision.asked.proposal
    besides = tuple(
        replace(p, footprint=41 * GB) if p.job == "Exp0-gemma" else p for p in proposal.besides
    )
    asked = replace(decision.asked, proposal=replace(proposal, besides=besides))
    (games,) = [p for p in besides if p.job == "Exp0-gemma"]
    assert limits_of(replace(decision, asked=asked))[games.gpu].low == (41 + 30) * GB


def test_limits_are_kept_for_the_watch(tmp_path: Path) -> None:
    assert read_limits(tmp_path, [2, 5], USUAL) == {2: USUAL, 5: USUAL}
    limits = limits_of(decided("C"))
    write_limits(tmp_path / "floor", limits)
    assert read_limits(tmp_path / "floor", [2, 5], USUAL) == {2: limits[2], 5: USUAL}
    (tmp_path / "floor" / FILE).write_text('{"2": {"low": 1')
    with pytest.raises(BadInput, match="approved limits cannot be read"):
        read_limits(tmp_path / "floor", [2], USUAL)
