"""The planner on the plan's own table and figures: its options, their times, margins and layers."""

from dataclasses import replace
from pathlib import Path

import pytest

from pitboss.errors import BadInput
from pitboss.floor.memory.survey_file import read_survey
from pitboss.floor.planning.options import Proposal, propose
from pitboss.floor.planning.placement import Option
from pitboss.floor.planning.stated import read_stated

FLOORS = Path(__file__).parents[2] / "studies" / "floors"
GB = 1_000_000_000


@pytest.fixture(scope="module")
def proposal() -> Proposal:
    work = read_stated(FLOORS / "plan-figures.yaml").work()
    return propose(read_survey(FLOORS / "plan.yaml"), work)


def layers(option: Option) -> dict[int, str]:
    return {p.gpu: p.layers for p in option.placements}


def in_days(hours: float) -> float:
    return round(hours / 24, 1)


def test_the_other_experiments_go_where_the_plan_puts_them(proposal: Proposal) -> None:
    found = {p.job: (p.gpu, p.start_h, p.end_h) for p in proposal.besides}
    assert found == {
        "Exp0-LLaMA": (0, 0, 24), "Exp0-Gemma": (1, 0, 24), "Exp1": (3, 0, 4), "Exp3": (3, 4, 7.5),
    }  # fmt: skip
    margins = {p.job: p.margin // GB for p in proposal.besides}
    assert margins == {"Exp0-LLaMA": 61, "Exp0-Gemma": 59, "Exp1": 51, "Exp3": 55}


def test_option_a(proposal: Proposal) -> None:
    option = proposal.option("A")
    assert layers(option) == {0: "1-8", 1: "9-16", 3: "17-31"}
    assert [p.features for p in option.placements] == [2400, 2400, 4500]
    assert (in_days(option.starts_h), in_days(option.takes_h)) == (1.5, 12.2)
    assert not any(p.sharers for p in option.placements)


def test_option_a_says_what_the_plan_got_wrong(proposal: Proposal) -> None:
    said = " ".join(proposal.option("A").cons)
    assert "at its rate for the other parts (292 s a feature) it is 15.2 days" in said
    assert "divided evenly it would take 11.1 days" in said


def test_option_b(proposal: Proposal) -> None:
    option = proposal.option("B")
    assert layers(option) == {0: "1-8", 1: "9-16", 3: "17-24", 4: "25-31"}
    assert (in_days(option.starts_h), in_days(option.takes_h)) == (2.1, 8.1)
    assert not any(p.sharers for p in option.placements)


def test_option_c(proposal: Proposal) -> None:
    option = proposal.option("C")
    assert layers(option) == {2: "1-8", 4: "9-16", 6: "17-24", 7: "25-31"}
    assert (option.starts_h, in_days(option.takes_h)) == (0, 8.1)
    assert [in_days(p.takes_h) for p in option.placements] == [8.1, 8.1, 8.1, 7.1]
    assert [f"{p.margin / GB:.0f}" for p in option.placements] == ["35", "32", "16", "10"]
    assert [p.safety for p in option.placements] == ["safe", "safe", "marginal", "marginal"]
    assert "GPU 6 keeps 16 GB" in option.risk and "GPU 7 keeps 10 GB" in option.risk


def test_elastic_starts_now_on_the_safe_gpus_and_the_others_join(proposal: Proposal) -> None:
    option = proposal.option("D")
    starts = {p.gpu: p.start_h for p in option.placements}
    assert starts == {0: 36, 1: 36, 2: 0, 3: 11.25, 4: 0}
    assert in_days(option.ends_h) == 7.1
    assert not option.marginal and sum(p.features for p in option.placements) == 9300
    daring = proposal.option("E")
    assert daring.gpus == (0, 1, 2, 3, 4, 6, 7) and in_days(daring.ends_h) == 5.1


def test_elastic_is_recommended_with_its_reason(proposal: Proposal) -> None:
    assert proposal.recommended == "D"
    assert "ends after 7.1 days with safe margins only" in proposal.reason
    assert any("GPU 5 is full" in note for note in proposal.notes)


def test_refusing_to_share_takes_those_gpus_out() -> None:
    floor, work = read_survey(FLOORS / "plan.yaml"), read_stated(FLOORS / "plan-figures.yaml")
    alone = propose(floor, work.work(), sharing=frozenset())
    assert [option.letter for option in alone.options] == ["A", "B", "D"]
    starts = {p.gpu: p.start_h for p in alone.option("D").placements}
    assert starts == {0: 36, 1: 36, 3: 11.25, 4: 50}  # GPU 4 joins when Exp5 is over
    with_four = propose(floor, work.work(), sharing={4}).option("D")
    assert with_four.placements[-1].start_h == 0
    assert with_four.ends_h < alone.option("D").ends_h


def test_a_tenants_growth_takes_a_gpu_out() -> None:
    floor, work = read_survey(FLOORS / "plan.yaml"), read_stated(FLOORS / "plan-figures.yaml")
    grown = propose(floor, work.work(), growth={2: 6 * GB, 7: 1 * GB})
    assert 2 not in grown.option("D").gpus  # 29 GB would be left: no longer safe
    assert 2 in grown.option("E").gpus
    assert any("GPU 7: 9 GB would be left" in note for note in grown.notes)


def test_where_nothing_fits_the_refusal_says_why() -> None:
    floor, work = (
        read_survey(FLOORS / "plan.yaml"),
        read_stated(FLOORS / "plan-figures.yaml").work(),
    )
    assert work.shared is not None
    large = work._replace(shared=replace(work.shared, footprint=80 * GB))
    with pytest.raises(BadInput, match="fits on no GPU: it takes 80.0 GB.*GPU 5 is full"):
        propose(floor, large)


def test_an_unknown_letter_is_refused(proposal: Proposal) -> None:
    with pytest.raises(BadInput, match="no option 'Z'"):
        proposal.option("Z")
