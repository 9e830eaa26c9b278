"""Planted features, asked in generated states, found and found again; the controls are not."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from pitboss.engine import Generation
from pitboss.errors import Incomplete, Mismatch
from pitboss.experiments.patching import controls_found
from pitboss.experiments.patching.arms import Arm, asked
from pitboss.experiments.patching.confirmation import Confirmation
from pitboss.experiments.patching.trials import own_values
from pitboss.experiments.runtime.carry_out import carry_out, carry_out_all
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.plan import Plan
from pitboss.games.scenes import scene, state_names
from pitboss.store import Store
from tests.experiments.banks import patching_of, planted_bank
from tests.experiments.small import ALIAS, NO_CONTROLS, Whole, on, parquet_bytes, small_plan

SETTINGS: dict[str, Any] = {
    "prompts": ["exp2/risky"],
    "trials": 10,
    "chunk": 4,
    "states": {"count": 6, "held_out": 5, "trials": 4},
    "controls": NO_CONTROLS | {"random_directions": 3, "own_value": 2},
}
AGAIN: dict[str, Any] = {
    "kind": "confirmation",
    "patching": "patching",
    "trials": 15,
    "state_trials": 4,
}


class Asked(NamedTuple):
    """A study that asked twice."""

    plan: Plan
    context: ModelContext
    known: dict[str, set[tuple[int, int]]]

    @property
    def store(self) -> Store:
        return self.plan.store


def confirmation_of(plan: Plan) -> Confirmation:
    """The confirmation of a study that has one."""
    confirmation = plan["again"]
    assert isinstance(confirmation, Confirmation)
    return confirmation


def carry_out_both(plan: Plan, context: ModelContext) -> None:
    """Discovery and confirmation; what is finished is not done again."""
    for experiment in (patching_of(plan), confirmation_of(plan)):
        carry_out_all(plan, experiment, ALIAS, lambda _: context)


@pytest.fixture(scope="module")
def asked_twice(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    plan = small_plan(tmp_path_factory.mktemp("twice"), patching=SETTINGS, again=AGAIN)
    known = planted_bank(whole, plan)
    with pytest.raises(Incomplete, match="not tested yet"):
        next(confirmation_of(plan).stages(ALIAS))
    context = on(whole.context, plan)
    carry_out_both(plan, context)
    return Asked(plan, context, known)


def test_planted_features_are_found_in_states_and_confirmed_in_others(asked_twice: Asked) -> None:
    plan, _, known = asked_twice
    store = plan.store
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
    said = store.read_json("controls.json")
    assert said["own_value"] == {"runs": 68, "identical": 68}
    assert said["false_positive"]["random_direction"]["tested"] == 3
    permuted = said["permutation"]
    assert permuted["observed"] == 4 and permuted["permutations"] == 200
    assert permuted["q95"] <= 1 and permuted["p"] < 0.02
    assert {row["prompt"] for row in said["baseline"]} == {"exp2/risky", "exp2/states"}


def effects_of(store: Store) -> pd.DataFrame:
    return store.read("effects").to_pandas()


def test_discovery_and_confirmation_share_no_state_and_no_noise(asked_twice: Asked) -> None:
    trials = asked_twice.store.read("trials").to_pandas()
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


def test_every_unit_says_how_many_rows_it_leaves(asked_twice: Asked) -> None:
    plan, known = asked_twice.plan, asked_twice.known
    expected: dict[tuple[str, str], int] = {}
    for experiment in (patching_of(plan), confirmation_of(plan)):
        for stage in plan.known(experiment, ALIAS)[0]:
            assert stage.finished
            for unit in stage.units:
                ref = unit.ref(plan.store)
                assert ref is not None and ref.rows == unit.rows
                where = experiment.name, unit.kind
                expected[where] = expected.get(where, 0) + ref.rows
    asked_again = 2 * 2 * len(known["causal"])  # values; runs depend on the scene
    assert expected.pop(("again", "trials")) % asked_again == 0
    assert expected == {
        ("patching", "trials"): 34 * (2 * 8 + 2 * 3 + 2 + 1),
        ("patching", "effects"): 2 * 3 * 4 * (8 + 3),
        ("again", "effects"): 2 * len(known["causal"]),
        ("again", "findings"): 8,
    }


def test_the_summary_says_what_was_found_and_found_again(asked_twice: Asked) -> None:
    plan, known = asked_twice.plan, asked_twice.known
    said = patching_of(plan).summary() | confirmation_of(plan).summary()
    assert (said["patched_features"], said["causal_features"]) == (8, len(known["causal"]))
    assert said["confirmed_features"] == len(known["causal"])
    assert said["controls"]["own_value"] == {"runs": 68, "identical": 68}
    (shown,) = confirmation_of(plan).results(ALIAS)
    assert shown.name == "again-findings"
    assert {row["feature"] for row in shown.rows} == {f"L{x}/F{i}" for x, i in known["causal"]}


def test_a_kill_between_any_two_units_leaves_the_same_bytes(
    whole: Whole, asked_twice: Asked, tmp_path: Path
) -> None:
    """A part that is there is not made again; the rest is made in another order."""
    plan = small_plan(tmp_path, patching=SETTINGS, again=AGAIN)
    planted_bank(whole, plan)
    context = on(whole.context, plan)
    for unit in patching_of(plan).trial_units()[::-2]:
        carry_out(plan, unit, lambda _: context, slots=40)
    carry_out_both(plan, context)
    assert parquet_bytes(plan.store) == parquet_bytes(asked_twice.store)


def test_a_patch_that_does_more_than_it_says_stops_the_run(asked_twice: Asked) -> None:
    """One letter of one response under a feature's own value: named before and after storing."""
    settings, store = patching_of(asked_twice.plan).settings, asked_twice.store
    trials = store.read("trials").to_pandas()
    trials = trials[trials["phase"] == "discovery"].reset_index(drop=True)
    tested = effects_of(store)
    at = trials.index[trials["role"] == "own_value"][5]
    trials.loc[at, "response"] += "."
    with pytest.raises(Mismatch, match="1 of 68 responses") as refused:
        controls_found.controls_found(settings, 1, trials, tested)
    assert trials.loc[at, "key"] in str(refused.value)
    arms = {role: Arm(asked(settings)[0], "own", None, role) for role in ("a", "b")}
    runs = {role: (arm, 3) for role, arm in arms.items()}
    plain, same, other = (
        Generation(key, tokens, str(tokens), "eos")
        for key, tokens in (("b", (1, 2)), ("a", (1, 2)), ("a", (1, 3)))
    )
    assert own_values([same, plain], {"a": runs["a"]}, {"b": runs["b"]}) == [same]
    with pytest.raises(Mismatch, match="changed the response"):
        own_values([other, plain], {"a": runs["a"]}, {"b": runs["b"]})
