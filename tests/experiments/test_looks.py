"""A sequential discovery finds what is planted, leaves out what has stopped, and survives kills."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pitboss.analysis.pairs import count_pairs
from pitboss.analysis.sequential import decide, e_value
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments import summary
from pitboss.experiments.patching import effects
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.patching.interim import LookUnit, rule_of
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.study import open_store
from pitboss.store import Store
from tests.experiments.banks import planted_bank
from tests.experiments.small import ALIAS, NO_CONTROLS, Whole, parquet_bytes, settings, small_study

SETTINGS: dict[str, Any] = {
    "prompts": ["exp2/risky"],
    "trials": 24,
    "chunk": 3,
    "states": {"count": 4, "held_out": 0, "trials": 6},
    "controls": NO_CONTROLS | {"random_directions": 2, "own_value": 1},
    "sequential": {"looks": [8, 16, 24], "share": 0.5, "smallest_effect": 0.4},
}
Looked = tuple[Lane, Store, dict[str, set[tuple[int, int]]]]


@pytest.fixture(scope="module")
def looked(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Looked:
    study = small_study(patching=SETTINGS)
    store = open_store(study, tmp_path_factory.mktemp("looks"))
    known = planted_bank(whole, store)
    lane = Lane(study, ALIAS, whole.lane.loaded, [])
    units = patching.work(study, store)
    assert sum(isinstance(unit, LookUnit) for unit in units) == 2 * 2 + 1
    for unit in units:
        patching.run(lane, store, unit)
    effects.run(study, store)
    return lane, store, known


def test_planted_features_are_found_and_what_stopped_is_not_asked_again(looked: Looked) -> None:
    lane, store, known = looked
    found = store.read("findings").to_pandas().set_index(["layer", "feature"])
    assert set(found.index[found["causal"]]) == known["causal"]
    tested = store.read("effects").to_pandas()
    primary = tested[tested["test"] == "sequential"]
    assert len(primary) == 2 * (8 + 2) and primary["status"].eq("tested").all()
    assert tested.loc[tested["test"] != "sequential", "p"].isna().all()
    runs = store.read("trials").to_pandas()
    mine = runs[runs["role"].isin(["feature", "random_direction"])]
    by = ["role", "layer", "feature", "scene"]
    counts = count_pairs(mine, by)
    e = e_value(counts["up"], counts["down"])
    stored = primary.rename(columns={"prompt": "scene"}).set_index(by)["e_value"]
    assert stored.to_numpy() == pytest.approx(
        pd.Series(e, index=pd.MultiIndex.from_frame(counts[by])).reindex(stored.index).to_numpy()
    )
    pairs = mine[mine["arm"] == "safe"].groupby(by).size()
    assert set(pairs) <= {8, 16, 24} and (pairs < 24).any()


def test_every_look_follows_from_the_chunks_own_earlier_looks(looked: Looked) -> None:
    """The rule, applied to the stored runs of each look, names those that the next one asks."""
    lane, store, _ = looked
    rule = rule_of(lane.study, 8 * 2)
    for unit in patching.work(lane.study, store):
        if not isinstance(unit, LookUnit):
            continue
        seen = pd.DataFrame()
        for part in patching.parts_of(store, unit):
            rows = store.read("trials", [part.key]).to_pandas()
            asked = set(rows[["layer", "feature", "scene"]].itertuples(index=False, name=None))
            if len(seen):
                counts = count_pairs(seen, ["layer", "feature", "scene"])
                pairs = counts["up"] + counts["down"] + counts["same"]
                left = 24 - pairs - counts["undecided"]
                going = decide(counts["up"], counts["down"], pairs, left, rule) == "running"
                names = counts.loc[going, ["layer", "feature", "scene"]]
                assert asked == set(names.itertuples(index=False, name=None))
            seen = pd.concat([seen, rows])


def test_an_unfinished_look_is_missed_and_a_kill_leaves_the_same_bytes(
    looked: Looked, tmp_path: Path
) -> None:
    lane, whole_store, _ = looked
    store = open_store(lane.study, tmp_path)
    for name in ("banks", "parts/features", "records/features"):
        shutil.copytree(whole_store.path / name, store.path / name)
    units = patching.work(lane.study, store)
    for unit in units[::-1]:  # one look of each chunk, then the lane dies
        patching.run(lane, store, patching.parts_of(store, unit)[-1], slots=50)
    open_chunks = [unit for unit in units if unit.ref(store) is None]
    if open_chunks:
        with pytest.raises(Incomplete):
            effects.run(lane.study, store)
    for unit in units:
        patching.run(lane, store, unit)
    effects.run(lane.study, store)
    assert parquet_bytes(store) == parquet_bytes(whole_store)
    (trials, tested, _) = summary.each_expected(lane.study, store)["patching"]()
    assert tested.rows == 2 * 3 * 4 * (8 + 2)
    assert sum(ref.rows for key in trials.keys if (ref := store.ref("trials", key))) == trials.rows


def test_looks_that_do_not_fit_the_trials_are_refused(whole: Whole) -> None:
    for looks in ([8, 16], [16, 8, 24], [8, 8, 24]):
        with pytest.raises(BadInput, match="must ascend and end with trials"):
            small_study(patching=SETTINGS | {"sequential": {"looks": looks}})
    assert settings()["patching"]["trials"] == 20
    with pytest.raises(BadInput, match="fixed number of trials"):
        rule_of(whole.study, 5)
