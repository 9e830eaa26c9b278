"""Footprints from the memory model, durations from pilots, and where each comes from."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pitboss.errors import BadInput
from pitboss.experiments.registry import parse_study
from pitboss.floor.memory.survey_file import read_survey
from pitboss.floor.planning.decision import Asked, Decision
from pitboss.floor.planning.estimates import job_names
from pitboss.floor.planning.jobs import Job, SharedJob, Work
from pitboss.floor.planning.options import propose
from pitboss.floor.planning.pilots import add_pilot, newest, read_pilots
from pitboss.floor.planning.pool_assignment import seated
from pitboss.floor.planning.tables import proposal_text
from pitboss.report.approval import answered, form_text
from tests.floor.plan_work import (
    KIND,
    LLAMA,
    STUDIES,
    pilot,
    plan_study,
    plan_work,
)

FLOOR = read_survey(STUDIES / "floors" / "plan.yaml")


@pytest.fixture(scope="module")
def work() -> Work:
    return plan_work(pilot("patching", 160), pilot("pathway", 0.5))


def shared(work: Work) -> SharedJob:
    assert work.shared is not None
    return work.shared


def job(work: Work, name: str) -> Job:
    return next(job for job in work.jobs if job.name == name)


def test_the_newest_pilot_of_the_same_kind_model_and_experiment_counts(tmp_path: Path) -> None:
    path = tmp_path / "state" / "pilots.json"
    assert read_pilots(path) == []
    for record in (pilot("patching", 2, day=5), pilot("patching", 9, day=2), pilot("games", 1, 9)):
        add_pilot(record, path)
    records = read_pilots(path)
    found = newest(records, KIND, "patching", LLAMA)
    assert found is not None and found.units_per_second == 2
    assert newest(records, "NVIDIA H200", "patching", LLAMA) is None
    assert newest(records, KIND, "patching", "google/gemma-2-9b-it") is None


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_an_impossible_speed_is_refused(tmp_path: Path, speed: float) -> None:
    with pytest.raises(BadInput, match="is no speed"):
        add_pilot(pilot("patching", speed), tmp_path / "pilots.json")
    assert not (tmp_path / "pilots.json").exists()


def test_a_damaged_file_of_pilots_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pilots.json"
    path.write_text('[{"gpu_kind": "x"')
    with pytest.raises(BadInput, match="pilots cannot be read"):
        read_pilots(path)


def test_a_pilots_speed_becomes_seconds_a_feature(work: Work) -> None:
    # Two values × two prompts × 20 trials: 80 runs a feature, at 160 runs a second.
    speed = shared(work).on(KIND)
    assert speed is not None and speed.value == 0.5
    assert speed.source == f"pilot on {KIND}, 2026-01-01"
    assert shared(work).total == 9300 and len(shared(work).chunks()) == 93


def test_what_no_pilot_timed_takes_the_plans_figure_and_says_so(work: Work) -> None:
    games, pathway = job(work, "Exp0-llama").on(KIND), job(work, "Exp1-llama").on(KIND)
    assert games is not None and (games.value, games.source) == (24, "plan")
    assert pathway is not None and pathway.source.startswith("pilot")
    assert pathway.value == pytest.approx(1000 / 0.5 / 3600)  # at most 1,000 games
    elsewhere = shared(work).on("NVIDIA H200")
    assert elsewhere is not None and elsewhere.source == "plan"
    assert job(work, "features-llama").on(KIND) is None


def test_footprints_are_what_the_engine_takes_of_its_allowance(work: Work) -> None:
    for one in work.jobs:
        if one.running_on is None:
            assert 16e9 < one.footprint <= 25e9
            assert "memory model: 1" in one.footprint_source and "25 GB allowed" in (
                one.footprint_source
            )
    assert 24e9 < shared(work).footprint <= 25e9


def test_an_allowance_too_small_for_the_weights_is_said() -> None:
    study = plan_study()
    engine = study.engine.model_copy(update={"memory_gb": 10.0})
    small = plan_work(figures=False, study=study.model_copy(update={"engine": engine}))
    assert shared(small).footprint > 16e9
    assert "too little even for one" in shared(small).footprint_source


def test_jobs_wait_for_what_they_need_and_the_proposal_respects_it(work: Work) -> None:
    assert job(work, "features-llama").after == ("Exp0-llama",)
    assert shared(work).after == ("features-llama",)
    assert job(work, "confirmation-llama").after == ("Exp2-llama",)
    proposal = propose(FLOOR, work)
    assert all(option.starts_h >= 36 for option in proposal.options)  # 24 h stated, half as much
    notes = " ".join(proposal.notes)
    assert "Nobody timed features-llama" in notes
    for name in ("confirmation-llama", "Exp3-llama", "Exp5-llama"):
        assert f"{name} follows Exp2-llama" in notes
    # 9,300 features at half a second take minutes: nobody has to share anything.
    assert proposal.option("D").takes_h < 1


def test_what_nobody_timed_is_unknown_and_not_over_at_once(work: Work) -> None:
    """Patching needs features, which neither a pilot nor the plan knows a duration for."""
    proposal = propose(FLOOR, work)
    for option in proposal.options:
        assert option.untimed == ("features-llama", "screening-llama") or (
            option.untimed == ("features-llama",) and 3 not in option.gpus
        )
        assert f"nobody timed {', '.join(option.untimed)}: it ends later by what that takes" in (
            option.cons
        )
    assert "ends after at least 36" not in proposal.reason and "at least" in proposal.reason
    text = proposal_text(proposal, work=work)
    (row,) = [line for line in text.splitlines() if re.search(r"\| features-llama +\| +\|", line)]
    assert re.search(r"\| +\? +\|", row) and "nobody timed it" in row and "0 minutes" not in row
    untimed = {p.job: p.untimed_end for p in proposal.besides}
    assert untimed["Exp0-llama"] == () and untimed["features-llama"] == ("features-llama",)
    assert "at least 1.5 days" in form_text("plan", Asked("study", proposal), 7)

    every = [pilot(kind, 9) for kind in ("games", "selection", "pathway", "screening", "patching")]
    known = propose(FLOOR, plan_work(*every, figures=False))
    assert {option.untimed for option in known.options} == {("Exp0-gemma",), ()}


def test_parts_go_by_the_plans_number_or_by_their_name() -> None:
    names = job_names(plan_study())
    assert names["games", "gemma"] == "Exp0-gemma" and names["patching", "llama"] == "Exp2-llama"
    assert names["confirmation", "llama"] == "confirmation-llama"  # Exp2 too, but it comes second
    assert names["screening", "llama"] == "screening-llama"
    assert len(set(names.values())) == len(names) == 9


def test_of_two_that_could_be_spread_the_larger_is_and_the_other_joins_its_workers() -> None:
    settings = plan_study().model_dump(mode="json")
    experiments = settings["experiments"]
    experiments["again"] = experiments["patching"] | {"trials": 40}
    experiments["words-again"] = experiments["words"] | {"patching": "again"}
    work = plan_work(pilot("patching", 160), study=parse_study(settings))
    speed = shared(work).on(KIND)
    assert shared(work).name == "again-llama" and speed is not None and speed.value == 1.0
    following = {job.name for job in work.following}
    assert following >= {"Exp2-llama", "confirmation-llama", "words-again-llama"}
    # What waits for the smaller one waits with it.
    assert {"Exp3-llama", "Exp5-llama"} <= following
    assert "screening-llama" not in following


def test_a_study_in_which_nothing_is_spread_has_one_option_with_a_place_for_each_job() -> None:
    settings = plan_study().model_dump(mode="json")
    alone = ("games", "features", "pathway", "screening")
    settings["experiments"] = {name: settings["experiments"][name] for name in alone}
    settings["floor"]["pools"] = {}
    study = parse_study(settings)
    every = [pilot(kind, 1) for kind in ("games", "selection", "pathway", "screening")]
    work = plan_work(*every, figures=False, study=study)
    assert work.shared is None
    proposal = propose(FLOOR, work)
    (option,) = proposal.options
    assert {p.job for p in option.placements} == {job.name for job in work.jobs}
    assert proposal.recommended == "A" and option.ends_h == max(p.end_h for p in option.placements)
    asked = Asked("study", proposal)
    assert asked.questions[0].text == "Which option?"
    given = {q.key: "yes" for q in asked.questions if q.tenant}
    decision = Decision(asked, {"option": "A", **given}, None, "2025-10-01T09:00:00Z", None, None)
    pools = seated(study, decision).floor.pools
    assert pools["features"] == {"llama": f"gpu-{decision.gpu_of('features-llama')}"}
    assert "GPUs 0, 1, 3" in answered(decision)
    assert "Where the study may run" in form_text("plan", asked, 7)

    full = replace(FLOOR, gpus=tuple(replace(g, used=g.total) for g in FLOOR.gpus))
    with pytest.raises(BadInput, match="The study needs Exp0-llama"):
        propose(full, work)
