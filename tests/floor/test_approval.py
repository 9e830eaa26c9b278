"""A decision about where a study runs: what is asked, what contradicts, when it stops holding."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from deployments.settings import ROOT
from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import HIDDEN, Gpu, Survey, Tenant
from pitboss.floor.memory.survey_file import read_survey
from pitboss.floor.planning.approval import (
    DECISION,
    contradictions,
    fingerprint,
    keep,
    latest,
    reasons_to_ask_again,
    require,
)
from pitboss.floor.planning.decision import Asked, Decision, check_answers
from pitboss.floor.planning.options import propose
from pitboss.floor.planning.stated import read_stated
from pitboss.report.approval import answered, form_text
from pitboss.store import Store

FLOORS = ROOT / "studies" / "floors"
YES = {"share_4": "yes", "share_2_6_7": "yes"}
NOW = datetime(2025, 10, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def floor() -> Survey:
    return read_survey(FLOORS / "plan.yaml")


@pytest.fixture(scope="module")
def asked(floor: Survey) -> Asked:
    proposal = propose(floor, read_stated(FLOORS / "plan-figures.yaml").work())
    return Asked("study", proposal)


def decision(asked: Asked, option: str, deadline: date | None = None, **answers: str) -> Decision:
    given = {"option": option, **YES, **answers}
    checked = check_answers(asked, given)
    return Decision(asked, checked, deadline, "2025-10-01T09:00:00+00:00", "somebody", "run")


def with_gpu(floor: Survey, index: int, change: Callable[[Gpu], Gpu]) -> Survey:
    gpus = tuple(change(gpu) if gpu.index == index else gpu for gpu in floor.gpus)
    return replace(floor, gpus=gpus)


def test_the_plans_three_questions_follow_from_its_floor_and_options(asked: Asked) -> None:
    option, exp5, soar = sorted(asked.questions, key=lambda q: (bool(q.tenant), q.key != "share_4"))
    assert option.text == "Which option for Exp2?" and set("ABCD") <= set(option.choices)
    assert exp5.text == "May GPU 4 be shared with exp5?"
    assert soar.text == "May GPUs 2, 6, 7 be shared with m-soar?"
    text = form_text("plan", asked, 7)
    for words in ("m-soar", "12.2 days", "marginal", exp5.text, soar.text, "nothing starts"):
        assert words in text
    assert len(text) < 30_000


def test_an_empty_floor_has_only_the_options_to_ask_about(floor: Survey) -> None:
    empty = replace(floor, gpus=floor.gpus[:2])
    proposal = propose(empty, read_stated(FLOORS / "plan-figures.yaml").work()._replace(jobs=()))
    (only,) = Asked("s", proposal).questions
    assert only.key == "option"


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({}, "option: 'nothing'"),
        ({"option": "Z", **YES}, "option: 'Z'"),
        ({"option": "C", "share_4": "yes"}, "share_2_6_7"),
        ({"option": "C", **YES, "share_9": "yes"}, "share_9: no such question"),
    ],
)
def test_answers_that_miss_a_question_are_refused(
    asked: Asked, answers: dict[str, str], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        check_answers(asked, answers)


def test_approved_gpus_are_those_of_the_option_that_may_be_shared(asked: Asked) -> None:
    assert decision(asked, "C").gpus == [2, 4, 6, 7]
    assert decision(asked, "A", share_4="no", share_2_6_7="no").gpus == [0, 1, 3]
    elastic = decision(asked, "D", share_2_6_7="no").gpus
    assert set(elastic) == {0, 1, 3, 4}
    assert set(decision(asked, "D").gpus) > set(elastic)


def test_an_option_whose_gpus_may_not_be_shared_is_a_contradiction(asked: Asked) -> None:
    assert contradictions(decision(asked, "C"), NOW) == []
    found = contradictions(decision(asked, "C", share_4="no"), NOW)
    assert len(found) == 1 and "GPU 4 beside exp5" in found[0]
    # B waits until Exp5 is over, and an elastic option does without.
    assert contradictions(decision(asked, "B", share_4="no"), NOW) == []
    assert contradictions(decision(asked, "D", share_4="no"), NOW) == []


def test_no_option_can_put_another_job_where_the_answer_does_not_allow_it(floor: Survey) -> None:
    full = {0, 1, 3}  # so that the games have to go beside m-soar
    taken = replace(floor, gpus=tuple(g for g in floor.gpus if g.index not in full))
    proposal = propose(taken, read_stated(FLOORS / "plan-figures.yaml").work())
    asked = Asked("study", proposal)
    games = [p for p in proposal.besides if p.job == "Exp0-LLaMA"]
    assert [p.shares for p in games] == [("m-soar",)]
    keys = {q.tenant: q.key for q in asked.questions if q.tenant}
    answers = {"option": "D", keys["exp5"]: "yes", keys["m-soar"]: "no"}
    refused = Decision(asked, answers, None, "2025-10-01T09:00:00+00:00", None, None)
    assert any("puts Exp0-LLaMA on GPU" in reason for reason in contradictions(refused, NOW))


def test_no_deadline_is_promised_where_a_duration_is_not_known(asked: Asked) -> None:
    late = date(2026, 10, 10)
    assert contradictions(decision(asked, "D", late), NOW) == []
    (found,) = contradictions(decision(with_unknown(asked, "features"), "D", late), NOW)
    assert found.startswith("Nobody timed features, so when option D ends is not known")


def with_unknown(asked: Asked, job: str) -> Asked:
    """The same, but every option waits for a job of unknown duration."""
    options = tuple(
        replace(o, placements=tuple(replace(p, untimed=(job,)) for p in o.placements))
        for o in asked.proposal.options
    )
    return replace(asked, proposal=replace(asked.proposal, options=options))


def test_a_deadline_that_the_option_misses_is_a_contradiction(asked: Asked) -> None:
    assert contradictions(decision(asked, "C", date(2025, 10, 10)), NOW) == []
    (found,) = contradictions(decision(asked, "A", date(2025, 10, 10)), NOW)
    assert "Option A takes" in found and "the deadline is 2025-10-10" in found


def add(tenant: Tenant) -> Callable[[Gpu], Gpu]:
    return lambda gpu: replace(
        gpu, used=gpu.used + (tenant.memory or 0), tenants=(*gpu.tenants, tenant)
    )


def grown(gb: float) -> Callable[[Gpu], Gpu]:
    size = round(gb * 1e9)

    def change(gpu: Gpu) -> Gpu:
        first, *rest = gpu.tenants
        held = replace(first, memory=(first.memory or 0) + size)
        return replace(gpu, used=gpu.used + size, tenants=(held, *rest))

    return change


STRANGER = Tenant(4711, "m-moon", "train.py", 2_000_000_000, False)


@pytest.mark.parametrize(
    ("index", "change", "said"),
    [
        (0, add(STRANGER), ["GPU 0 was free and is shared.", "m-moon came to GPU 0."]),
        (2, add(STRANGER), ["m-moon came to GPU 2."]),
        (4, lambda gpu: replace(gpu, used=0, tenants=()), ["exp5 left GPU 4.", "is free."]),
        (2, grown(10), ["GPU 2, a job of 25.0 GB was safe and is marginal"]),
        (7, grown(5), ["GPU 7, a job of 25.0 GB was marginal and is no"]),
        (6, grown(35), ["GPU 6 was shared and is full."]),
        (6, grown(3), []),
        (2, grown(-2), []),
        (7, lambda gpu: replace(gpu, tenants=(replace(gpu.tenants[0], pid=99),)), []),
        (0, lambda gpu: replace(gpu, index=8), ["GPU 0 is not there any more.", "GPU 8 is new."]),
    ],
)
def test_what_counts_as_a_changed_floor(
    asked: Asked, floor: Survey, index: int, change: Callable[[Gpu], Gpu], said: list[str]
) -> None:
    found = reasons_to_ask_again(decision(asked, "C"), with_gpu(floor, index, change), NOW)
    assert bool(found) == bool(said)
    for words in said:
        assert any(words in reason for reason in found), found


def test_the_hash_covers_study_survey_and_options(asked: Asked, floor: Survey) -> None:
    same = replace(asked, reasons=("the floor has changed",))
    assert same.plan_hash == asked.plan_hash
    proposal = asked.proposal
    others = [
        replace(asked, study="another"),
        replace(asked, proposal=replace(proposal, survey=with_gpu(floor, 2, grown(1)))),
        replace(asked, proposal=replace(proposal, options=proposal.options[1:])),
        replace(asked, proposal=replace(proposal, besides=proposal.besides[1:])),
    ]
    assert len({each.plan_hash for each in (asked, *others)}) == 5


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path, {"name": "plan", "seed": 1})


def kept(asked: Asked, store: Store, option: str, **answers: str) -> Decision:
    made = decision(replace(asked, study=fingerprint(store)), option, **answers)
    keep(store, made)
    return made


def start(store: Store, fresh: Survey) -> Decision:
    return require(store, lambda before: fresh)


def test_a_decision_comes_back_as_it_was_stored(asked: Asked, store: Store) -> None:
    assert latest(store) is None
    first = kept(asked, store, "C")
    assert latest(store) == first
    text = answered(first)
    assert "somebody" in text and "GPUs 2, 4, 6, 7" in text
    second = replace(first, decided_at="2025-10-02T09:00:00+00:00", answers={"option": "A", **YES})
    keep(store, second)
    assert latest(store) == second
    assert len(list((store.path / "approval" / "decisions").glob("*.json"))) == 2
    assert store.verify() == []


def test_a_plan_changed_after_the_decision_is_refused(asked: Asked, store: Store) -> None:
    kept(asked, store, "C")
    path = store.path / DECISION
    path.write_text(path.read_text().replace('"total": 81000000000', '"total": 99000000000'))
    with pytest.raises(BadInput, match="changed since"):
        latest(store)


def test_without_a_decision_nothing_may_start(store: Store, floor: Survey) -> None:
    with pytest.raises(BadInput, match=r"Nobody has approved.*approve/approve"):
        start(store, floor)


def test_a_decision_holds_while_its_own_gpus_are_as_they_were(
    asked: Asked, store: Store, floor: Survey
) -> None:
    made = kept(asked, store, "C")
    assert start(store, floor) == made
    unused = with_gpu(floor, 5, lambda g: replace(g, tenants=(*g.tenants, STRANGER)))
    assert start(store, unused) == made
    assert start(store, with_gpu(floor, 4, lambda g: replace(g, used=0, tenants=()))) == made
    with pytest.raises(BadInput, match="m-moon came to GPU 2"):
        start(store, with_gpu(floor, 2, add(STRANGER)))
    with pytest.raises(BadInput, match="m-moon came to GPU 0"):  # where the games run
        start(store, with_gpu(floor, 0, add(STRANGER)))
    with pytest.raises(BadInput, match="GPU 7 has room for 30.2 GB"):
        start(store, with_gpu(floor, 7, grown(5)))


def test_our_own_runs_are_no_strangers(asked: Asked, store: Store, floor: Survey) -> None:
    made = kept(asked, store, "C")
    ours = Tenant(1, "us", "python3 -m prefect", 25_000_000_000, True)
    running = replace(with_gpu(floor, 6, add(ours)), source="nvml")
    assert start(store, running) == made


def test_another_study_needs_its_own_decision(
    asked: Asked, store: Store, floor: Survey, tmp_path: Path
) -> None:
    made = kept(asked, store, "C")
    other = Store.create(tmp_path / "elsewhere", {"name": "plan", "seed": 2})
    keep(other, made)
    with pytest.raises(BadInput, match="settings have changed"):
        start(other, floor)


def test_a_passed_deadline_ends_a_decision(asked: Asked, store: Store, floor: Survey) -> None:
    made = replace(kept(asked, store, "C"), deadline=date(2025, 10, 12))
    keep(store, made)
    with pytest.raises(BadInput, match="deadline was 2025-10-12"):
        start(store, replace(floor, taken="2025-10-13T00:00:00+00:00"))


def test_placements_say_whom_they_share_with(asked: Asked) -> None:
    def shares(letter: str, gpu: int) -> list[tuple[str, ...]]:
        return [p.shares for p in asked.proposal.option(letter).placements if p.gpu == gpu]

    assert shares("C", 4) == [("exp5",)]
    assert shares("C", 7) == [("m-soar",)]
    assert shares("B", 4) == [()]
    assert shares("A", 0) == [()]


def test_hidden_processes_are_asked_about_as_one_more_tenant(floor: Survey) -> None:
    hidden = with_gpu(floor, 2, lambda gpu: replace(gpu, used=gpu.used + 3_000_000_000))
    proposal = propose(hidden, read_stated(FLOORS / "plan-figures.yaml").work())
    asked = Asked("study", proposal)
    (question,) = [q for q in asked.questions if q.tenant == HIDDEN]
    assert question.key == "share_2" and question.text.startswith("May GPU 2 be shared with proc")
    assert HIDDEN in form_text("plan", asked, 7)


def test_what_was_asked_comes_back_as_it_was_stored_and_damage_is_refused(asked: Asked) -> None:
    stored = json.loads(json.dumps(asked.as_json()))
    assert Asked.from_json(stored) == asked
    with pytest.raises(BadInput, match="cannot be read"):
        Asked.from_json({"plan_hash": stored["plan_hash"], "study": "study"})
