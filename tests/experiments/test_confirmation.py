"""Planted features, asked in generated states, found and found again; the controls are not."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pitboss.engine import Generation
from pitboss.errors import BadInput, Incomplete, Mismatch
from pitboss.experiments import summary
from pitboss.experiments.patching import confirmation, controls_found, effects
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.patching.arms import Arm, asked
from pitboss.experiments.patching.trials import own_values
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.study import open_store
from pitboss.games.scenes import scene, state_names
from pitboss.store import Store
from tests.experiments.banks import planted_bank
from tests.experiments.small import ALIAS, NO_CONTROLS, Whole, parquet_bytes, small_study

SETTINGS: dict[str, Any] = {
    "prompts": ["exp2/risky"],
    "trials": 10,
    "chunk": 4,
    "states": {"count": 6, "held_out": 5, "trials": 4},
    "controls": NO_CONTROLS | {"random_directions": 3, "own_value": 2},
    "confirmation": {"trials": 15, "state_trials": 4},
}


def carry_out(lane: Lane, store: Store) -> None:
    """Discovery and confirmation; what is finished is not done again."""
    for unit in patching.all_units(lane.study, store):
        patching.run(lane, store, unit)
    effects.run(lane.study, store)
    for unit in confirmation.units(lane.study, store):
        patching.run(lane, store, unit)
    confirmation.test(lane.study, store)


@pytest.fixture(scope="module")
def asked_twice(
    whole: Whole, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lane, Store, dict[str, set[tuple[int, int]]]]:
    study = small_study(patching=SETTINGS)
    store = open_store(study, tmp_path_factory.mktemp("twice"))
    known = planted_bank(whole, store)
    lane = Lane(study, ALIAS, whole.lane.loaded, [])
    with pytest.raises(Incomplete):
        confirmation.units(study, store)
    carry_out(lane, store)
    return lane, store, known


def test_planted_features_are_found_in_states_and_confirmed_in_others(asked_twice) -> None:
    lane, store, known = asked_twice
    found = store.read("findings").to_pandas().set_index(["layer", "feature"])
    causal = found[found["causal"]]
    assert set(causal.index) == known["causal"]
    assert causal["confirmed"].eq(True).all()
    assert found.loc[~found["causal"], "confirmed"].isna().all()
    assert set(found["runs"]) == {2 * (10 + 6 * 4)}
    tested = effects_of(store)
    in_states = tested[(tested["prompt"] == "exp2/states") & (tested["role"] == "feature")]
    primary = in_states[(in_states["outcome"] == "stop") & (in_states["phase"] == "discovery")]
    primary = primary[primary["contrast"] == "safe_vs_risky"]
    assert set(primary["test"]) == {"stratified"}
    assert set(primary["n_a"] + primary["none_a"]) == {24}
    said = store.read_json(controls_found.CONTROLS)
    assert said["own_value"] == {"runs": 68, "identical": 68}
    assert said["false_positive"]["random_direction"]["tested"] == 3
    permuted = said["permutation"]
    assert permuted["observed"] == 4 and permuted["permutations"] == 200
    assert permuted["q95"] <= 1 and permuted["p"] < 0.02
    assert {row["prompt"] for row in said["baseline"]} == {"exp2/risky", "exp2/states"}


def effects_of(store: Store) -> pd.DataFrame:
    return store.read("effects").to_pandas()


def test_discovery_and_confirmation_share_no_state_and_no_noise(asked_twice) -> None:
    _, store, _ = asked_twice
    trials = store.read("trials").to_pandas()
    first, second = (trials[trials["phase"] == p] for p in ("discovery", "confirmation"))
    assert not set(first["noise"]) & set(second["noise"])
    states = [set(x.loc[x["scene"] == "exp2/states", "prompt"]) for x in (first, second)]
    assert states[0] == set(state_names(0, 6)) and states[1] <= set(state_names(6, 5))
    assert not set(first["prompt_sha256"]) & set(
        second.loc[second["scene"] == "exp2/states", "prompt_sha256"]
    )
    for row in trials.drop_duplicates("prompt").itertuples():
        menu = scene(row.prompt).menu
        assert (row.balance, row.highest) == (menu.balance, menu.highest)


def test_the_summary_expects_every_control_and_every_run_asked_again(asked_twice) -> None:
    lane, store, known = asked_twice
    steps = summary.each_expected(lane.study, store)["patching"]()
    rows = {(step.experiment, step.kind): step.rows for step in steps}
    assert rows["patching", "trials"] == 34 * (2 * 8 + 2 * 3 + 2 + 1)
    assert rows["patching", "effects"] == 2 * 3 * 4 * (8 + 3)
    assert rows["confirmation", "effects"] == 2 * len(known["causal"])
    assert rows["confirmation", "findings"] == 8
    for step in steps:
        found = [store.ref(step.kind, key) for key in step.keys]
        assert all(found) and sum(ref.rows for ref in found if ref) == step.rows


def test_a_kill_between_any_two_units_leaves_the_same_bytes(asked_twice, tmp_path: Path) -> None:
    """A part that is there is not made again; the rest is made in another order."""
    lane, whole_store, _ = asked_twice
    store = open_store(lane.study, tmp_path)
    for name in ("banks", "parts/features", "records/features"):
        shutil.copytree(whole_store.path / name, store.path / name)
    for unit in patching.all_units(lane.study, store)[::-2]:
        patching.run(lane, store, unit, slots=40)
    carry_out(lane, store)
    assert parquet_bytes(store) == parquet_bytes(whole_store)


def test_a_patch_that_does_more_than_it_says_stops_the_run(asked_twice) -> None:
    """One letter of one response under a feature's own value: named before and after storing."""
    lane, store, _ = asked_twice
    trials = store.read("trials").to_pandas()
    trials = trials[trials["phase"] == "discovery"].reset_index(drop=True)
    tested = effects_of(store)
    at = trials.index[trials["role"] == "own_value"][5]
    trials.loc[at, "response"] += "."
    with pytest.raises(Mismatch, match="1 of 68 responses") as refused:
        controls_found.controls_found(lane.study, trials, tested)
    assert trials.loc[at, "key"] in str(refused.value)
    arms = {role: Arm(asked(lane.study.patching)[0], "own", None, role) for role in ("a", "b")}
    runs = {role: (arm, 3) for role, arm in arms.items()}
    plain, same, other = (
        Generation(key, tokens, str(tokens), "eos")
        for key, tokens in (("b", (1, 2)), ("a", (1, 2)), ("a", (1, 3)))
    )
    assert own_values([same, plain], {"a": runs["a"]}, {"b": runs["b"]}) == [same]
    with pytest.raises(Mismatch, match="changed the response"):
        own_values([other, plain], {"a": runs["a"]}, {"b": runs["b"]})


def test_a_study_that_confirms_nothing_has_no_confirmation(whole: Whole) -> None:
    with pytest.raises(BadInput, match="confirmation: .trials: 40."):
        confirmation.section(whole.study)
