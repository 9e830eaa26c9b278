"""A sequential discovery finds what is planted, leaves out what has stopped, and survives kills."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pitboss.analysis.pairs import count_pairs
from pitboss.analysis.sequential import decide, e_value
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.patching.interim import InterimUnit, rule_of
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.carry_out import carry_out, carry_out_all
from pitboss.experiments.runtime.plan import Plan
from pitboss.store import Store
from tests.experiments.banks import patching_of, planted_bank
from tests.experiments.small import ALIAS, NO_CONTROLS, Whole, on, parquet_bytes, small_plan

SETTINGS: dict[str, Any] = {
    "prompts": ["exp2/risky"],
    "trials": 24,
    "chunk": 3,
    "states": {"count": 4, "held_out": 0, "trials": 6},
    "controls": NO_CONTROLS | {"random_directions": 2, "own_value": 1},
    "sequential": {"looks": [8, 16, 24], "share": 0.5, "smallest_effect": 0.4},
}
Analysed = tuple[Plan, dict[str, set[tuple[int, int]]]]


def growing(plan: Plan) -> list[InterimUnit]:
    patching = patching_of(plan)
    chunks = (*patching.feature_chunks, *patching.random_chunks)
    return [unit for unit in chunks if isinstance(unit, InterimUnit)]


@pytest.fixture(scope="module")
def analysed(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    plan = small_plan(tmp_path_factory.mktemp("interim"), patching=SETTINGS)
    known = planted_bank(whole, plan)
    context = on(whole.context, plan)
    assert len(growing(plan)) == 2 * 2 + 1
    carry_out_all(plan, patching_of(plan), ALIAS, lambda _: context)
    return plan, known


def test_planted_features_are_found_and_what_stopped_is_not_asked_again(
    analysed: Analysed,
) -> None:
    plan, known = analysed
    store = plan.store
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


def test_what_is_asked_follows_from_the_chunks_own_earlier_parts(analysed: Analysed) -> None:
    """The rule, applied to the stored runs so far, names those that the next part asks."""
    plan, _ = analysed
    rule = rule_of(patching_of(plan).settings, 8 * 2)
    for unit in growing(plan):
        seen = pd.DataFrame()
        for part in patching_of(plan).parts(unit):
            rows = plan.store.read("trials", [part.key]).to_pandas()
            asked = set(rows[["layer", "feature", "scene"]].itertuples(index=False, name=None))
            if len(seen):
                counts = count_pairs(seen, ["layer", "feature", "scene"])
                pairs = counts["up"] + counts["down"] + counts["same"]
                left = 24 - pairs - counts["undecided"]
                going = decide(counts["up"], counts["down"], pairs, left, rule) == "running"
                names = counts.loc[going, ["layer", "feature", "scene"]]
                assert asked == set(names.itertuples(index=False, name=None))
            seen = pd.concat([seen, rows])


def test_a_kill_between_two_analyses_leaves_the_same_bytes(
    whole: Whole, analysed: Analysed, tmp_path: Path
) -> None:
    plan = small_plan(tmp_path, patching=SETTINGS)
    planted_bank(whole, plan)
    patching, context = patching_of(plan), on(whole.context, plan)
    for unit in growing(plan)[::-1]:  # one part of each chunk, then the worker dies
        carry_out(plan, patching.parts(unit)[-1], lambda _: context, slots=50)
    again = plan_of(plan.study, plan.store)
    unfinished = [unit for unit in growing(again) if unit.ref(again.store) is None]
    assert unfinished
    with pytest.raises(Incomplete, match="not tested yet"):
        patching_of(again).effects_ref()
    assert not again.finished("patching")
    carry_out_all(again, patching_of(again), ALIAS, lambda _: context)
    assert parquet_bytes(again.store) == parquet_bytes(analysed[0].store)
    stages, _ = again.known(patching_of(again), ALIAS)
    units = [unit for stage in stages for unit in stage.units]
    assert all(unit.ref(again.store).rows == unit.rows for unit in units)
    (tested,) = stages[2].units
    assert tested.rows == 2 * 3 * 4 * (8 + 2)


def test_a_finished_part_is_read_once(analysed: Analysed, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(analysed[0].study, analysed[0].store)
    read: list[str] = []
    original = Store.read

    def counted(store: Store, kind: str, keys: Any = None, **more: Any) -> Any:
        read.extend(keys)
        return original(store, kind, keys, **more)

    monkeypatch.setattr(Store, "read", counted)
    chunks = growing(plan)
    parts = [part.key for _ in range(3) for unit in chunks if unit.ref(plan.store)
             for part in patching_of(plan).parts(unit)]  # fmt: skip
    assert len(read) == len(set(read)) and sorted([*read, *read, *read]) == sorted(parts)


def test_analyses_that_do_not_fit_the_trials_are_refused(whole: Whole, tmp_path: Path) -> None:
    for looks in ([8, 16], [16, 8, 24], [8, 8, 24]):
        with pytest.raises(BadInput, match="must ascend and end with trials"):
            small_plan(tmp_path, patching=SETTINGS | {"sequential": {"looks": looks}})
    with pytest.raises(BadInput, match="fixed number of trials"):
        rule_of(patching_of(whole.plan).settings, 5)
