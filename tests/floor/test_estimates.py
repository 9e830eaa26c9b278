"""Footprints from the memory model, durations from pilots, and where each comes from."""

import json
import re
from pathlib import Path

import pytest

from pitboss.errors import BadInput
from pitboss.floor.memory.survey import read_survey
from pitboss.floor.planning.decision import Asked
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.jobs import Job, Work
from pitboss.floor.planning.offers import as_json, offer_from_json, offers_of
from pitboss.floor.planning.options import propose
from pitboss.floor.planning.pilots import PilotRecord, add_pilot, newest, read_pilots
from pitboss.floor.planning.stated import read_stated
from pitboss.floor.planning.tables import proposal_text
from pitboss.report.approval import form_text
from pitboss.studies.loading import load_study

ROOT = Path(__file__).parents[2]
KIND = "NVIDIA A100 80GB"
LLAMA = "meta-llama/Llama-3.1-8B"


def pilot(experiment: str, speed: float, day: int = 1, model: str = LLAMA) -> PilotRecord:
    return PilotRecord(KIND, experiment, model, speed, f"2026-01-{day:02}T00:00:00+00:00", "test")


@pytest.fixture(scope="module")
def work() -> Work:
    study = load_study(ROOT / "studies" / "plan.yaml")
    figures = read_stated(ROOT / "studies" / "floors" / "plan-figures.yaml")
    return study_work(study, [KIND], [pilot("patching", 160), pilot("pathway", 0.5)], figures)


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
    with pytest.raises(BadInput, match="cannot be read"):
        read_pilots(path)


def test_a_pilots_speed_becomes_seconds_a_feature(work: Work) -> None:
    # Two values × two prompts × 20 trials: 80 runs a feature, at 160 runs a second.
    speed = work.patching.on(KIND)
    assert speed is not None and speed.value == 0.5
    assert speed.source == f"pilot on {KIND}, 2026-01-01"
    assert work.patching.total == 9300 and len(work.patching.chunks()) == 93


def test_what_no_pilot_timed_takes_the_plans_figure_and_says_so(work: Work) -> None:
    games, pathway = job(work, "Exp0-llama").on(KIND), job(work, "Exp1-llama").on(KIND)
    assert games is not None and (games.value, games.source) == (24, "plan")
    assert pathway is not None and pathway.source.startswith("pilot")
    assert pathway.value == pytest.approx(1000 / 0.5 / 3600)  # at most 1,000 games
    elsewhere = work.patching.on("NVIDIA H200")
    assert elsewhere is not None and elsewhere.source == "plan"
    assert job(work, "features-llama").on(KIND) is None


def test_footprints_are_what_the_engine_takes_of_its_allowance(work: Work) -> None:
    for one in work.jobs:
        if one.running_on is None:
            assert 16e9 < one.footprint <= 25e9
            assert "memory model: 1" in one.footprint_source and "25 GB allowed" in (
                one.footprint_source
            )
    assert 24e9 < work.patching.footprint <= 25e9


def test_an_allowance_too_small_for_the_weights_is_said() -> None:
    study = load_study(ROOT / "studies" / "plan.yaml")
    engine = study.engine.model_copy(update={"memory_gb": 10.0})
    small = study_work(study.model_copy(update={"engine": engine}), [KIND])
    assert small.patching.footprint > 16e9
    assert "too little even for one row" in small.patching.footprint_source


def test_jobs_wait_for_what_they_need_and_the_proposal_respects_it(work: Work) -> None:
    assert job(work, "features-llama").after == ("Exp0-llama",)
    assert work.patching.after == ("features-llama",)
    proposal = propose(read_survey(ROOT / "studies" / "floors" / "plan.yaml"), work)
    assert all(option.starts_h >= 36 for option in proposal.options)  # 24 h stated, half as much
    notes = " ".join(proposal.notes)
    assert "Nobody timed features-llama" in notes and "Exp3-llama follows Exp2-llama" in notes
    # 9,300 features at half a second take minutes: nobody has to share anything.
    assert proposal.option("D").takes_h < 1


def test_what_nobody_timed_is_unknown_and_not_over_at_once(work: Work) -> None:
    """Patching needs features, which neither a pilot nor the plan knows a duration for."""
    proposal = propose(read_survey(ROOT / "studies" / "floors" / "plan.yaml"), work)
    for option in proposal.options:
        assert option.untimed == ("features-llama",)
        assert "nobody timed features-llama: it ends later by what that takes" in option.cons
    assert "ends after at least 36" not in proposal.reason and "at least" in proposal.reason
    text = proposal_text(proposal)
    (row,) = [line for line in text.splitlines() if re.search(r"\| features-llama +\| +\|", line)]
    assert re.search(r"\| +\? \|", row) and "nobody timed it" in row and "0 minutes" not in row
    (offer,) = [offer for offer in offers_of(proposal) if offer.letter == "D"]
    assert offer.untimed == ("features-llama",)
    uses = {use.job: use.untimed for use in offer.uses}
    assert uses["Exp0-llama"] == () and uses["features-llama"] == ("features-llama",)
    assert offer_from_json(json.loads(json.dumps(as_json(offer)))) == offer
    asked = Asked("study", "Exp2-llama", proposal.survey, offers_of(proposal), "D", "")
    assert "at least 36.0 h" in form_text("plan", asked, 7)

    timed = study_work(
        load_study(ROOT / "studies" / "plan.yaml"),
        [KIND],
        [pilot(e, 9) for e in ("games", "features", "pathway", "screening", "patching")],
    )
    known = propose(read_survey(ROOT / "studies" / "floors" / "plan.yaml"), timed)
    assert {option.untimed for option in known.options} == {("Exp0-gemma",), ()}
