"""The ladder over a finished study of the lab: its runs, its planted features, its twin."""

import shutil
from pathlib import Path

import pandas as pd

from deployments.settings import ROOT
from pitboss.analysis.effects import causal_features
from pitboss.experiments.patching import ladder
from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.registry import load_study, plan_of
from pitboss.games.reading import reader
from pitboss.games.scenes import scene
from pitboss.store import Store
from tests.experiments.banks import patching_of
from tests.experiments.small import Whole


def changed(whole: Whole, store: Store, name: str, **fields: object) -> Patching:
    """The finished study's patching under other settings and another study's name."""
    settings = patching_of(whole.plan).settings.model_copy(update=fields)
    experiments = {**whole.study.experiments, "patching": settings}
    study = whole.study.model_copy(update={"name": name, "experiments": experiments})
    return patching_of(plan_of(study, store))


def test_the_upper_rungs_are_the_studys_effects_and_hold_the_planted_features(
    whole: Whole,
) -> None:
    patching = patching_of(whole.plan)
    rows = {row["name"]: row for row in whole.store.read_json("ladder.json")}
    assert whole.store.read_json("original.json")["signs"]["called_causal"] == 441
    own, causal = rows["readable arms"], set(patching.causal())
    assert own["count"] == len(causal) > 0
    known = patching.selection.known_answers()
    assert own["known_causal"] == len(known["causal"] & causal)
    assert rows["safe against risky value"]["known_null"] <= 1
    assert own["known_causal"] > rows["chi-square"]["known_causal"]
    assert rows["delta"]["count"] is None and "deltas" in rows["delta"]["note"]


def test_every_response_has_what_the_original_reader_makes_of_it(whole: Whole) -> None:
    patching = patching_of(whole.plan)
    trials = patching.read_trials(patching.trial_keys())
    read, old = ladder.with_original_reader(trials), reader(ladder.ORIGINAL_READER)
    for row in read.sample(50, random_state=0).itertuples():
        reading = old.read(row.response, scene(row.prompt).menu, row.finish)
        assert (row.old_decision, None if pd.isna(row.old_amount) else row.old_amount) == (
            reading.decision,
            reading.amount,
        )
    pd.testing.assert_frame_equal(read[trials.columns], trials)


def test_a_study_of_keyword_readings_climbs_by_honest_ones(whole: Whole) -> None:
    """Same texts, other reader: the honest rungs do not change."""
    by_keywords = changed(whole, whole.store, whole.study.name, reader=ladder.ORIGINAL_READER)
    assert by_keywords.settings.full_response  # so that the texts' keys do not name the reader
    trials = by_keywords.read_trials(by_keywords.trial_keys())
    _, tested = ladder.honest(by_keywords, trials, patching_of(whole.plan).effects())
    assert causal_features(tested) == patching_of(whole.plan).causal()


def test_the_twin_that_patches_deltas_is_found_by_its_name(whole: Whole, tmp_path: Path) -> None:
    store = Store.open(shutil.copytree(whole.store.path, tmp_path / "old"))
    old = changed(whole, store, "old", mode="reconstruct")
    assert "no finished study old-delta" in str(ladder.delta_effects(old))
    (tmp_path / "old-delta").symlink_to(store.path)
    twin = ladder.delta_effects(old)
    assert not isinstance(twin, str) and causal_features(twin) == patching_of(whole.plan).causal()


def test_the_legacy_twins_differ_in_the_mode_alone() -> None:
    old, twin = (
        load_study(ROOT / "studies" / f"{name}.yaml") for name in ("legacy", "legacy-delta")
    )
    before = old.experiments["patching"]
    assert before.mode == "reconstruct" and before.reader == ladder.ORIGINAL_READER
    experiments = {**old.experiments, "patching": before.model_copy(update={"mode": "delta"})}
    assert twin == old.model_copy(update={"name": "legacy-delta", "experiments": experiments})
