"""Causal features are found, others are not, and a patch that changes nothing changes nothing."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pitboss.analysis.findings import primary_stops
from pitboss.engine import Engine, EngineConfig, Request
from pitboss.errors import Incomplete
from pitboss.experiments.patching.experiment import DOCUMENTS
from pitboss.experiments.patching.patches import bank_patch
from pitboss.experiments.patching.random_bank import path_of
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.carry_out import carry_out, carry_out_all
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.plan import Plan
from pitboss.games.prompts import render
from pitboss.games.reading import reader
from pitboss.saes.planted import planted
from pitboss.store import Store
from tests.experiments.banks import patching_of
from tests.experiments.small import (
    ALIAS,
    LAYERS,
    NO_CONTROLS,
    Whole,
    on,
    parquet_bytes,
    small_plan,
)

WIDE = EngineConfig(width=128, prompt_capacity=512, token_capacity=24, prefixes=2)


def test_all_planted_causal_features_are_found_and_null_ones_no_more_than_the_fdr_allows(
    whole: Whole,
) -> None:
    effects = whole.store.read("effects").to_pandas()
    found = effects[effects["causal"]][["layer", "feature"]].itertuples(index=False)
    causal = {(int(layer), int(feature)) for layer, feature in found}
    known = planted(whole.study.models[ALIAS].sae)
    pairs = {
        role: {(layer, i) for layer in LAYERS for i in known[layer][role]}
        for role in ("causal", "null")
    }
    assert len(pairs["causal"]) >= 20 and len(pairs["null"]) >= 20
    assert pairs["causal"] <= causal
    assert len(causal - pairs["causal"]) <= patching_of(whole.plan).settings.fdr * len(causal)
    # The effect is the one that was built in: one half of a pair stops more, the other less.
    primary = primary_stops(effects).set_index(["layer", "feature"])
    ways = primary.loc[sorted(pairs["causal"])]["difference"]
    assert (ways > 0.3).sum() > 20 and (ways < -0.3).sum() > 20


@pytest.mark.parametrize("positions", ["prompt_last", "prompt_last_and_generated"])
def test_a_patch_to_a_features_own_value_changes_no_text(whole: Whole, positions: str) -> None:
    """Against the stored baseline: drawn in another run, in other company, with the same noise."""
    patching, context = patching_of(whole.plan), whole.context
    settings = patching.settings.model_copy(update={"positions": positions})
    bank, baseline = patching.bank, patching.read_trials([patching.baseline_unit().key])
    assert baseline["response"].nunique() > 10
    rows = []
    for i in range(len(bank)):
        own = bank_patch(bank, i, None, settings)
        for name in settings.prompts:
            for trial in (i % settings.trials, (i + 7) % settings.trials):
                rows.append(
                    Request(
                        key=f"{name}/{trial:03d}/{i}",
                        prompt=tuple(context.loaded.encode(render(name).text)),
                        noise=f"{name}/{trial:03d}",
                        sampling=context.sampling(settings.sampling),
                        patches=(own,),
                    )
                )
    engine = context.engine(WIDE)
    done = engine.run(rows)
    expected = {row.noise: row.response for row in baseline.itertuples()}
    noise = {row.key: row.noise for row in rows}
    assert {g.key: g.text for g in done} == {key: expected[noise[key]] for key in noise}
    assert len(done) == 4 * len(bank) and len(set(noise.values())) == 2 * settings.trials


def test_arms_are_paired_and_every_response_reads_as_stored(whole: Whole) -> None:
    trials = whole.store.read("trials").to_pandas()
    assert (trials["noise"] == trials["prompt"] + trials["trial"].map("/{:03d}".format)).all()
    names = ["role", "prompt", "arm", "layer", "feature"]
    assert set(trials.groupby(names, dropna=False).size()) == {20}
    menu = reader("menu")
    menus = {name: render(name).menu for name in patching_of(whole.plan).settings.prompts}
    for row in trials.itertuples():
        again = menu.read(row.response, menus[row.prompt], row.finish)
        assert again.decision == row.decision
        assert again.reason == (None if pd.isna(row.reason) else row.reason)
        assert (again.start, again.end, again.reader) == (row.read_start, row.read_end, row.reader)
    assert (trials["decision"] != "none").mean() > 0.95


def test_values_are_the_groups_means_and_chunks_are_of_one_layer(whole: Whole) -> None:
    trials = whole.store.read("trials").to_pandas()
    chosen = whole.store.read("features").to_pandas().set_index(["layer", "feature"])
    patched = trials[trials["role"] == "feature"]
    for (layer, feature, arm), runs in patched.groupby(["layer", "feature", "arm"]):
        assert set(runs["value"]) == {chosen.loc[(layer, feature), arm].astype("float32")}
    patching = patching_of(whole.plan)
    for unit in patching.feature_chunks:
        stored = whole.store.read("trials", [unit.key])
        assert stored.num_rows == unit.rows
        assert len(set(stored["layer"].to_pylist())) == 1
        assert len(set(stored["feature"].to_pylist())) <= patching.settings.chunk


Few = tuple[Plan, ModelContext]


@pytest.fixture
def few(whole: Whole, tmp_path: Path) -> Few:
    """Four features, two of each layer, two trials; the bank is cut from the finished study's."""
    return few_features(whole, tmp_path)


def few_features(whole: Whole, root: Path, **fields: object) -> Few:
    settings = {"trials": 2, "chunk": 4, "controls": NO_CONTROLS, **fields}
    plan = small_plan(root, patching=settings)
    bank = patching_of(whole.plan).bank
    cut = bank.rows([0, 1, len(bank) - 2, len(bank) - 1])
    cut.save(patching_of(plan).selection.bank_path)
    return plan, on(whole.context, plan)


@pytest.mark.parametrize(
    ("mode", "in_flight"), [("delta", (128, 64, 3)), ("reconstruct", (128, 9))]
)
def test_rows_in_flight_change_no_byte(
    whole: Whole, tmp_path: Path, mode: str, in_flight: tuple[int, ...]
) -> None:
    written = []
    for slots in in_flight:
        plan, context = few_features(whole, tmp_path / str(slots), mode=mode)
        patching = patching_of(plan)
        for unit in (patching.baseline_unit(), *patching.feature_chunks):
            carry_out(plan, unit, lambda _, context=context: context, slots)
        records = plan.store.records("trials")
        assert {record.facts["slots"] for record in records} == {slots}
        written.append({r.ref.key: (plan.store.path / r.ref.path).read_bytes() for r in records})
    assert len(written[0]) == 3
    assert all(files == written[0] for files in written)


def test_reconstructing_with_the_own_value_is_reconstructing_only(few: Few) -> None:
    plan, context = few
    patching = patching_of(plan)
    bank, settings, gate = patching.bank, patching.settings, patching.selection.gate
    saes = {layer: context.sae(layer, gate) for layer in LAYERS}
    engine = context.engine(WIDE, saes)
    prompt = tuple(context.loaded.encode(render("exp2/risky").text))
    sampling = context.sampling(settings.sampling)
    rows = []
    for i in range(len(bank)):
        own = bank_patch(bank, i, None, settings)
        for mode in ("reconstruct", "reconstruct_only"):
            patch = replace(own, mode=mode)
            rows.append(Request(f"{mode}/{i}", prompt, "x", sampling, (patch,)))
    texts = {g.key: g.text for g in engine.run(rows)}
    for i in range(len(bank)):
        assert texts[f"reconstruct/{i}"] == texts[f"reconstruct_only/{i}"]


def test_all_chunks_and_the_baseline_go_through_one_engine(
    few: Few, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, context = few
    made = []
    monkeypatch.setattr(
        "pitboss.experiments.runtime.context.Engine",
        lambda loaded, config, **k: made.append(config) or Engine(loaded, config, **k),
    )
    patching = patching_of(plan)
    for unit in patching.trial_units():
        carry_out(plan, unit, lambda _: context)
    assert len(made) == 1 < len(patching.trial_units())
    again = patching.baseline_unit()
    (plan.store.path / "parts" / "trials" / f"{again.key}.parquet").unlink()
    carry_out(plan, again, lambda _: context, slots=64)
    assert [config.slots for config in made] == [None, 64]


def test_random_features_are_drawn_with_the_baseline_and_again_where_their_bank_is_damaged(
    whole: Whole, tmp_path: Path
) -> None:
    """Nothing is written by asking; the bank that is drawn again holds the same features."""
    plan, context = few_features(whole, tmp_path, controls=NO_CONTROLS | {"random_features": 2})
    patching = patching_of(plan)
    path, selection = path_of(patching), patching.selection
    table = whole.store.read("statistics", [selection.key])  # by which firing is matched
    identity = selection.choice.identity
    plan.store.commit("statistics", selection.key, table, identity=identity)
    stages, waits = plan.known(patching, ALIAS)
    assert [stage.finished for stage in stages] == [False] and not waits
    with pytest.raises(Incomplete, match="no random features of patching yet"):
        patching.trial_units()
    assert not path.exists()
    carry_out(plan, patching.baseline_unit(), lambda _: context)
    drawn, parquet = path.read_bytes(), parquet_bytes(plan.store)
    assert sum(len(unit.payload.bank) for unit in patching.random_chunks) == 2
    path.write_bytes(drawn[:-7])
    fresh = plan_of(plan.study, plan.store)
    assert not fresh.done(patching_of(fresh).baseline_unit())
    carry_out(fresh, patching_of(fresh).baseline_unit(), lambda _: context)
    assert path.read_bytes() == drawn and parquet_bytes(plan.store) == parquet
    assert fresh.done(patching_of(fresh).baseline_unit())


def test_what_lies_beside_the_effects_is_made_again_if_it_is_lost(
    whole: Whole, tmp_path: Path
) -> None:
    path = shutil.copytree(whole.store.path, tmp_path / whole.study.name)
    plan = plan_of(whole.study, Store.open(path))
    said = {name: (path / name).read_bytes() for name in DOCUMENTS}
    before = parquet_bytes(plan.store)
    (path / "ladder.json").unlink()
    (path / "controls.json").write_text("{")
    assert not plan.finished("patching")
    carry_out_all(plan, patching_of(plan), ALIAS, _no_model)
    assert {name: (path / name).read_bytes() for name in DOCUMENTS} == said
    assert parquet_bytes(plan.store) == before and plan.finished("patching")


def _no_model(alias: str) -> ModelContext:
    raise AssertionError(f"{alias} is loaded for finished runs")


def test_a_second_patching_of_the_same_features_shares_their_runs_and_has_files_of_its_own(
    whole: Whole, tmp_path: Path
) -> None:
    path = shutil.copytree(whole.store.path, tmp_path / whole.study.name)
    settings = patching_of(whole.plan).settings
    stricter = settings.model_copy(update={"fdr": 0.01})
    experiments = {**whole.study.experiments, "stricter": stricter}
    study = whole.study.model_copy(update={"experiments": experiments})
    plan = plan_of(study, Store.open(path))
    first, second = patching_of(plan), plan["stricter"]
    shutil.copy(path_of(first), path_of(second))
    shutil.copy(f"{path_of(first)}.json", f"{path_of(second)}.json")
    carry_out_all(plan, second, ALIAS, _no_model)
    assert second.trial_keys() == first.trial_keys() and second.effects_key != first.effects_key
    assert {a.name for a in second.results(ALIAS)} == {
        *(f"stricter-{name}" for name in ("effects", "readers", "ladder", "controls")),
        "effects-stricter",
    }
    assert plan.store.read_json("controls-stricter.json")["own_value"]["runs"] == 80
    assert set(second.causal()) <= set(first.causal())
    assert second.summary()["causal_features"] == len(second.causal()) > 0


def test_only_the_baseline_is_judged_by_its_responses(whole: Whole) -> None:
    patching = patching_of(whole.plan)
    judged = [unit for unit in patching.trial_units() if patching.judges(unit)]
    assert judged == [patching.baseline_unit()]
    assert not patching.judges(patching.effects_unit())


def test_a_checkpoint_shows_every_feature_of_its_chunk(whole: Whole) -> None:
    patching = patching_of(whole.plan)
    for unit in (*patching.feature_chunks, *patching.random_chunks):
        (shown,) = patching.shown(unit)
        assert shown.name == f"chunk-{unit.slug}"
        assert [(row["layer"], row["feature"]) for row in shown.rows] == sorted(
            zip(unit.payload.bank.layer.tolist(), unit.payload.bank.feature.tolist(), strict=True)
        )
        assert {row["what"] for row in shown.rows} == {unit.payload.role}
    assert list(patching.shown(patching.effects_unit())) == []
