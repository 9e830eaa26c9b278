"""What is said before anything starts: how much there is to do, and what to know of it."""

import json
import subprocess
import sys
from copy import deepcopy
from typing import Any

import pytest

from pitboss.errors import BadInput
from pitboss.experiments.announce import Announcement, announce
from pitboss.experiments.registry import load_study, parse_study, plan_of
from pitboss.saes import planted as planting
from pitboss.studies.reference import SIGNIFICANT_FEATURES
from pitboss.studies.workload import Workload

from .conftest import STUDIES, change

Settings = dict[str, Any]


def announced(settings: Settings) -> Announcement:
    return announce(plan_of(parse_study(settings), None))


@pytest.fixture(scope="module")
def plan() -> Announcement:
    return announce(plan_of(load_study(STUDIES / "plan.yaml"), None))


@pytest.fixture
def unplanted(settings: Settings) -> Settings:
    settings["experiments"]["features"]["include"] = "none"
    return settings


def work(announcement: Announcement, experiment: str, model: str = "llama") -> Workload:
    return next(w for w in announcement.work if (w.experiment, w.model) == (experiment, model))


def patched(announcement: Announcement) -> int:
    """Features that are patched at most."""
    shared = work(announcement, "patching").shared
    assert shared is not None
    return shared.features


def test_the_plan_counts_1_116_000_runs_and_the_shared_baseline_saves_a_third(plan):
    assert patched(plan) == 31 * 300 == 9_300
    assert 9_300 * 3 * 2 * 20 == 1_116_000 and 9_300 * 2 * 2 * 20 + 2 * 20 == 744_040
    assert note(plan, "1,116,000", "744,040", "baseline")
    controls = ((300 + 300) * 2 + 20 + 31) * 2 * 20
    assert work(plan, "patching").runs == 744_040 + controls == 794_080
    assert work(plan, "patching").tokens == 79_408_000
    assert work(plan, "confirmation").runs == 9_300 * 2 * 60


def test_the_plan_plays_3200_games_with_each_model(plan):
    for alias, limit in (("llama", 512), ("gemma", 1024)):
        games = work(plan, "games", alias)
        assert (games.conditions, games.runs) == (64, 3_200)
        assert games.responses == 3_200 * 100 * 4
        assert games.tokens == games.responses * limit
        assert games.bytes == games.responses * (1_500 + 4 * limit)


def test_the_totals_are_the_sums(plan):
    assert plan.tokens == sum(w.tokens for w in plan.work)
    assert plan.bytes == sum(w.bytes for w in plan.work)
    assert plan.runs == 3_200 + 3_200 + 1_000 + 794_080 + 1_116_000 + 6_050


def test_the_plan_holds_50_features_through_50_games_each(plan):
    held = work(plan, "clamped")
    assert held.runs == ((50 + 10) * 2 + 1) * 50 == 6_050
    assert held.tokens == 6_050 * 100 * 4 * 100
    assert note(plan, "50 games", "played once for all features")


def test_the_published_feature_counts_add_up():
    assert list(SIGNIFICANT_FEATURES) == list(range(1, 32))
    assert sum(SIGNIFICANT_FEATURES.values()) == 13_434
    assert sum(min(300, n) for n in SIGNIFICANT_FEATURES.values()) == 8_644


def note(announcement, *words):
    found = [n for n in announcement.notes if all(w in n for w in words)]
    assert len(found) == 1, (words, announcement.notes)
    return found[0]


def test_the_plan_says_which_of_its_numbers_cannot_be_met(plan):
    shortfall = note(plan, "cannot be met")
    assert "9,300" in shortfall and "8,644" in shortfall and "260 in layer 5" in shortfall
    assert "300 in layer" not in shortfall
    assert note(plan, "With 8,644 features", "691,560", "1,037,280")
    assert note(plan, "gemma: ", "trained on google/gemma-2-9b, not on google/gemma-2-9b-it")
    assert note(plan, "6.75%", "about 370 games")
    assert note(plan, "asks again without end", "3 more times")
    assert note(plan, "441 causal features")
    assert note(plan, "50,040 runs are controls", "300 random features", "31 reconstructions")
    assert note(plan, "one state of one game") and note(plan, "there are no new states")


def test_the_markdown_shows_every_part_and_note(plan):
    text = plan.as_markdown()
    for part in plan.work:
        assert part.formula in text and f"| {part.experiment} | {part.model} |" in text
    assert all(n in text for n in plan.notes)
    assert "744,040" in text and plan.fingerprint in text


def test_what_is_left_to_others_is_announced(unplanted):
    def about(**memory):
        unplanted["engine"] |= memory
        (said,) = [n for n in announced(unplanted).notes if "GPU" in n and "GB" in n]
        return said

    assert about(reserve_gb=3.5).startswith("3.5 GB of each GPU are left to others")
    assert about(memory_gb=40.0).endswith("A process holds at most 40 GB.")
    assert about(reserve_gb=None).startswith("Nobody watches")


def test_when_an_experiment_stops_for_its_responses_is_announced(unplanted):
    def about(quality):
        found = announced({**unplanted, "quality": quality})
        return found.fingerprint, note(found, "stop", "responses", "state a decision")

    limits = {"readable": 0.8, "cut_off": 0.1, "after": 1000}
    first, said = about(limits)
    assert "first 1,000 responses" in said and "80%" in said and "10%" in said
    second, off = about(None)
    assert off.startswith("No experiment is stopped for its responses")
    assert first == second == announced(unplanted).fingerprint


def test_the_announcement_is_plain_data(plan):
    data = json.loads(json.dumps(plan.as_dict()))
    assert data["work"][0]["experiment"] == data["work"][0]["kind"] == "games"
    assert data["runs"] == plan.runs and data["notes"] == list(plan.notes)


def test_floor_and_memory_change_no_fingerprint_but_a_setting_does(unplanted):
    before = announced(unplanted).fingerprint
    unplanted["floor"] = {"pools": {"words": "gpu-7"}}
    unplanted["engine"] |= {"memory_gb": 40.0, "reserve_gb": None}
    assert announced(unplanted).fingerprint == before
    unplanted["experiments"]["patching"]["trials"] = 21
    assert announced(unplanted).fingerprint != before


def test_included_features_are_counted_on_top(unplanted):
    before = announced(unplanted)
    unplanted["experiments"]["features"]["include"] = {1: [3, 4], 2: [5]}
    after = announced(unplanted)
    assert patched(after) - patched(before) == 3
    assert work(after, "patching").runs - work(before, "patching").runs == 3 * 2 * (2 * 20 + 12)


def test_planted_features_are_counted_from_their_list(settings, tmp_path, monkeypatch):
    planted = {
        "pitboss/lab-llama-scope": {
            "0": [
                {"feature": i, "role": r} for i, r in ((1, "causal"), (2, "causal"), (3, "null"))
            ],
            "3": [{"feature": i, "role": "causal" if i == 4 else "null"} for i in (4, 5, 6)],
        }
    }
    (tmp_path / "planted.json").write_text(json.dumps(planted), encoding="utf-8")
    monkeypatch.setattr(planting, "LAB_DIR", tmp_path)
    assert patched(announced(settings)) == 4 * 300 + 6
    settings["experiments"]["features"]["layers"] = [0, 1]
    assert patched(announced(settings)) == 2 * 300 + 3


def test_a_screening_is_counted_and_what_leads_it_is_patched(unplanted):
    experiments = unplanted["experiments"]
    every = announced(unplanted)
    screening = work(every, "screening")
    assert (screening.conditions, screening.runs) == (2, 4 * 256 * 2 * 2)
    assert (screening.responses, screening.tokens) == (0, 0)
    assert every.runs == sum(w.runs for w in every.work if w.tokens)
    assert note(every, "Screening computes", "first token")
    experiments["patching"] |= {"bank": "screening", "confirm": "top 50"}
    leading = announced(unplanted)
    assert patched(leading) == 50
    controls = ((24 + 24) * 2 + 4 + 4) * (2 * 20 + 12)
    assert work(leading, "patching").runs == (50 * 2 + 1) * (2 * 20 + 12) + controls
    assert note(leading, "the 50 that lead its ranking")
    assert leading.fingerprint != every.fingerprint
    experiments["patching"]["confirm"] = 5_000  # more than are screened
    assert patched(announced(unplanted)) == 4 * 256
    experiments["screening"] |= {"features": "selected", "values": ["safe"], "rank_by": "shift"}
    selected = announced(unplanted)
    assert work(selected, "screening").runs == 4 * 300 * 1 * 2
    assert patched(selected) == 4 * 300
    assert "≤ 1,200 features × 1 values × 2 prompts" in selected.as_markdown()


def test_of_several_experiments_of_a_kind_each_has_its_own_row_and_notes(unplanted):
    experiments = unplanted["experiments"]
    for name, reads, other in (
        ("features", "model", "gemma"),
        ("patching", "bank", "features-gemma"),
    ):
        experiments[f"{name}-gemma"] = deepcopy(experiments[name]) | {reads: other}
    experiments["patching-gemma"]["trials"] = 5
    found = announced(unplanted)
    own = work(found, "patching-gemma", "gemma")
    assert own.runs < work(found, "patching").runs and own.formula in found.as_markdown()
    assert note(found, "patching-gemma: ", "way of counting") != note(
        found, "patching: ", "way of counting"
    )
    assert not [n for n in found.notes if n.startswith("pathway: ")]  # the only one of its kind


def test_a_study_that_generates_nothing_is_said_to_generate_nothing(unplanted):
    screening = {"kind": "screening", "model": "llama", "layers": "0-3"}
    found = announced(unplanted | {"experiments": {"screen": screening}})
    assert (found.runs, found.tokens) == (0, 0) and found.bytes > 0
    assert [w.experiment for w in found.work] == ["screen"]
    assert not [n for n in found.notes if "state a decision" in n]


def test_a_missing_list_of_planted_features_is_refused(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(planting, "LAB_DIR", tmp_path)
    with pytest.raises(BadInput, match="make lab"):
        announced(settings)


def test_an_sae_without_planted_features_is_refused(settings, tmp_path, monkeypatch):
    (tmp_path / "planted.json").write_text('{"pitboss/lab-gemma-scope": {}}', encoding="utf-8")
    monkeypatch.setattr(planting, "LAB_DIR", tmp_path)
    with pytest.raises(BadInput, match="lab-llama-scope has no planted"):
        announced(settings)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("experiments.patching.full_response", False, ["hardly any words", "patching"]),
        ("experiments.patching.mode", "reconstruct", ["reconstruct_only as the control"]),
        ("experiments.games.reader", "original-exp0", ["makes up decisions"]),
        ("engine.games_width", 64, ["have 64 rows where", "128 elsewhere"]),
        ("experiments.games.token_limits", {"gemma": 100}, ["gemma", "432"]),
        (
            "experiments.words.describe",
            {"url": "https://example.org/v1", "model": "tiny"},
            ["are sent to https://example.org/v1, whose model tiny"],
        ),
    ],
)
def test_a_setting_with_a_catch_is_pointed_out(unplanted, path, value, words):
    unplanted["experiments"]["games"]["sampling"]["max_new_tokens"] = 1024
    quiet = announced(unplanted)
    assert not [n for n in quiet.notes if all(w in n for w in words)]
    change(unplanted, path, value)
    assert note(announced(unplanted), *words)


def test_a_process_without_torch_can_announce():
    code = (
        "import sys; from pitboss.experiments.registry import load_study, plan_of; "
        "from pitboss.experiments.announce import announce; "
        f"announce(plan_of(load_study({str(STUDIES / 'plan.yaml')!r}), None)); "
        "print({'torch', 'transformers', 'sae_lens', 'prefect'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
