"""Causal features are found, others are not, and a patch that changes nothing changes nothing."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pitboss.analysis.findings import primary_stops
from pitboss.engine import Engine, EngineConfig, Request
from pitboss.experiments import patching
from pitboss.experiments.features import bank_path, load_bank
from pitboss.experiments.lane import Lane
from pitboss.experiments.patching import bank_patch
from pitboss.experiments.study import open_store
from pitboss.games.prompts import render
from pitboss.games.reading import reader
from pitboss.saes.planted import planted
from pitboss.store import Store
from tests.experiments.small import ALIAS, LAYERS, NO_CONTROLS, Whole, small_study

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
    assert len(causal - pairs["causal"]) <= whole.study.patching.fdr * len(causal)
    # The effect is the one that was built in: one half of a pair stops more, the other less.
    primary = primary_stops(effects).set_index(["layer", "feature"])
    ways = primary.loc[sorted(pairs["causal"])]["difference"]
    assert (ways > 0.3).sum() > 20 and (ways < -0.3).sum() > 20


@pytest.mark.parametrize("positions", ["prompt_last", "prompt_last_and_generated"])
def test_a_patch_to_a_features_own_value_changes_no_text(whole: Whole, positions: str) -> None:
    """Against the stored baseline: drawn in another run, in other company, with the same noise."""
    settings = whole.study.patching.model_copy(update={"positions": positions})
    lane, bank = whole.lane, load_bank(whole.study, whole.store, ALIAS)
    baseline = whole.store.read("trials", [patching.baseline_unit(whole.study).key]).to_pandas()
    assert baseline["response"].nunique() > 10
    rows = []
    for i in range(len(bank)):
        own = bank_patch(bank, i, None, settings)
        for name in settings.prompts:
            for trial in (i % settings.trials, (i + 7) % settings.trials):
                rows.append(
                    Request(
                        key=f"{name}/{trial:03d}/{i}",
                        prompt=tuple(lane.loaded.encode(render(name).text)),
                        noise=f"{name}/{trial:03d}",
                        sampling=lane.sampling(settings.sampling),
                        patches=(own,),
                    )
                )
    engine = lane.engine(WIDE)
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
    menus = {name: render(name).menu for name in whole.study.patching.prompts}
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
    units = patching.units(whole.study, whole.store)
    for unit in units:
        stored = whole.store.read("trials", [unit.key])
        assert stored.num_rows == unit.rows
        assert len(set(stored["layer"].to_pylist())) == 1
        assert len(set(stored["feature"].to_pylist())) <= whole.study.patching.chunk
    shards = [patching.shard(units, i, 3) for i in range(3)]
    assert sorted(u.key for shard in shards for u in shard) == sorted(u.key for u in units)


@pytest.fixture
def few(whole: Whole, tmp_path: Path) -> tuple[Lane, Store]:
    """Four features, two of each layer, two trials; the bank is cut from the finished study's."""
    study = small_study(patching={"trials": 2, "chunk": 4, "controls": NO_CONTROLS})
    store = open_store(study, tmp_path)
    bank = load_bank(whole.study, whole.store, ALIAS)
    bank.rows([0, 1, len(bank) - 2, len(bank) - 1]).save(bank_path(store, ALIAS))
    return Lane(study, ALIAS, whole.lane.loaded, []), store


@pytest.mark.parametrize(
    ("mode", "in_flight"), [("delta", (128, 64, 3)), ("reconstruct", (128, 9))]
)
def test_rows_in_flight_change_no_byte(
    few: tuple[Lane, Store], tmp_path: Path, mode: str, in_flight: tuple[int, ...]
) -> None:
    lane, store = few
    study = lane.study.model_copy(
        update={"patching": lane.study.patching.model_copy(update={"mode": mode})}
    )
    written = []
    for slots in in_flight:
        made = open_store(study.model_copy(update={"name": f"with-{slots}"}), tmp_path)
        assert made.manifest["patching"]["mode"] == mode
        of_study = Lane(study, ALIAS, lane.loaded, [])
        for unit in (patching.baseline_unit(study), *patching.units(study, store)):
            patching.run(of_study, made, unit, slots)
        records = made.records("trials")
        assert {record.facts["slots"] for record in records} == {slots}
        written.append({r.ref.key: (made.path / r.ref.path).read_bytes() for r in records})
    assert len(written[0]) == 3
    assert all(files == written[0] for files in written)


def test_reconstructing_with_the_own_value_is_reconstructing_only(
    few: tuple[Lane, Store], whole: Whole
) -> None:
    lane, store = few
    bank = load_bank(lane.study, store, ALIAS)
    settings = lane.study.patching
    saes = {layer: whole.lane.sae(layer, lane.study.features.gate) for layer in LAYERS}
    engine = lane.engine(WIDE, saes)
    prompt = tuple(lane.loaded.encode(render("exp2/risky").text))
    rows = []
    for i in range(len(bank)):
        own = bank_patch(bank, i, None, settings)
        for mode in ("reconstruct", "reconstruct_only"):
            patch = replace(own, mode=mode)
            rows.append(
                Request(f"{mode}/{i}", prompt, "x", lane.sampling(settings.sampling), (patch,))
            )
    texts = {g.key: g.text for g in engine.run(rows)}
    for i in range(len(bank)):
        assert texts[f"reconstruct/{i}"] == texts[f"reconstruct_only/{i}"]


def test_all_chunks_and_the_baseline_go_through_one_engine(
    few: tuple[Lane, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, store = few
    made = []
    monkeypatch.setattr(
        "pitboss.experiments.lane.Engine",
        lambda loaded, config, **k: made.append(config) or Engine(loaded, config, **k),
    )
    for unit in patching.all_units(lane.study, store):
        patching.run(lane, store, unit)
    assert len(made) == 1 < len(patching.all_units(lane.study, store))
    again = patching.baseline_unit(lane.study)
    (store.path / "parts" / "trials" / f"{again.key}.parquet").unlink()
    patching.run(lane, store, again, slots=64)
    assert [config.slots for config in made] == [None, 64]
