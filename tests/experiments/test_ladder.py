"""The ladder over a finished study of the lab: its runs, its planted features, its twin."""

import shutil
from pathlib import Path

import pandas as pd

from deployments.settings import ROOT
from pitboss.analysis.effects import causal_features
from pitboss.experiments.patching import effects, ladder
from pitboss.experiments.patching import experiment as patching
from pitboss.games.reading import reader
from pitboss.games.scenes import scene
from pitboss.store import Store
from pitboss.studies.loading import load_study
from tests.experiments.small import Whole


def copied(whole: Whole, folder: Path) -> Store:
    path = folder / whole.study.name
    shutil.copytree(whole.store.path, path)
    return Store.open(path)


def test_the_upper_rungs_are_the_studys_effects_and_hold_the_planted_features(
    whole: Whole, tmp_path: Path
) -> None:
    store = copied(whole, tmp_path)
    rows = {row["name"]: row for row in ladder.run(whole.study, store)}
    assert store.read_json(ladder.LADDER) == list(rows.values())
    assert store.read_json(ladder.ORIGINAL)["signs"]["called_causal"] == 441
    tested = store.read("effects", [effects.key(whole.study, store)]).to_pandas()
    own = rows["readable arms"]
    assert own["count"] == len(causal_features(tested)) > 0
    known = effects.known_answers(whole.study)
    assert own["known_causal"] == len(known["causal"] & set(causal_features(tested)))
    assert rows["safe against risky value"]["known_null"] <= 1
    assert own["known_causal"] > rows["chi-square"]["known_causal"]
    assert rows["delta"]["count"] is None and "deltas" in rows["delta"]["note"]


def test_every_response_has_what_the_original_reader_makes_of_it(whole: Whole) -> None:
    keys = [unit.key for unit in patching.all_units(whole.study, whole.store)]
    trials = effects.read_trials(whole.study, whole.store, keys)
    read, old = ladder.with_original_reader(trials), reader(ladder.ORIGINAL_READER)
    for row in read.sample(50, random_state=0).itertuples():
        reading = old.read(row.response, scene(row.prompt).menu, row.finish)
        assert (row.old_decision, None if pd.isna(row.old_amount) else row.old_amount) == (
            reading.decision,
            reading.amount,
        )
    pd.testing.assert_frame_equal(read[trials.columns], trials)


def test_a_study_of_keyword_readings_climbs_by_honest_ones(whole: Whole, tmp_path: Path) -> None:
    """Same texts, other reader: the honest rungs do not change, and the twin is found by name."""
    store = copied(whole, tmp_path)
    by_keywords = whole.study.patching.model_copy(update={"reader": ladder.ORIGINAL_READER})
    study = whole.study.model_copy(update={"patching": by_keywords})
    assert whole.study.patching.full_response  # so that the texts' keys do not name the reader
    trials, tested = ladder.honest(study, store)
    own = store.read("effects", [effects.key(whole.study, store)]).to_pandas()
    assert causal_features(tested) == causal_features(own)
    reconstruct = whole.study.patching.model_copy(update={"mode": "reconstruct"})
    asked = whole.study.model_copy(update={"name": "old", "patching": reconstruct})
    assert "no finished study old-delta" in str(ladder.delta_effects(asked, store))
    (tmp_path / "old-delta").symlink_to(store.path)
    twin = ladder.delta_effects(asked, store)
    assert not isinstance(twin, str) and causal_features(twin) == causal_features(own)


def test_the_legacy_twins_differ_in_the_mode_alone() -> None:
    old, twin = (
        load_study(ROOT / "studies" / f"{name}.yaml") for name in ("legacy", "legacy-delta")
    )
    settings = old.patching.model_copy(update={"mode": "delta"})
    assert old.patching.mode == "reconstruct" and old.patching.reader == ladder.ORIGINAL_READER
    assert twin == old.model_copy(update={"name": "legacy-delta", "patching": settings})
