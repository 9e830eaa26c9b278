"""Every feature of the lab screened: planted ones lead, and sampled stop rates agree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from deployments.settings import ROOT
from pitboss.analysis.findings import primary_stops
from pitboss.engine.screening import Screen
from pitboss.errors import BadInput, Incomplete, Mismatch
from pitboss.experiments import effects, features, patching, ranking, screening, summary
from pitboss.experiments.choices import choice_tokens, require_decided
from pitboss.experiments.features import bank_path, load_bank
from pitboss.experiments.lane import Lane
from pitboss.experiments.study import open_store
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import State, render
from pitboss.models.loading import LoadedModel, load_model
from pitboss.saes.loading import load_sae
from pitboss.saes.planted import planted
from pitboss.store import Store
from pitboss.studies.model import Study
from tests.experiments.small import ALIAS, LAYERS, Whole, parquet_bytes, small_study

SCENES = ["exp2/safe", "exp2/risky"]
BEFORE = ["games", "decisions", "sums", "statistics", "features"]


def screened(whole: Whole) -> pd.DataFrame:
    keys = [unit.key for unit in screening.units(whole.study, whole.store)]
    return whole.store.read("screening", keys).to_pandas()


def after_selection(whole: Whole, root: Path, **sections: Any) -> tuple[Lane, Store]:
    """A study that differs behind the selection of features, with all that comes before it."""
    study = small_study(**sections)
    store = open_store(study, root)
    for kind in BEFORE:
        for record in whole.store.records(kind):
            key = record.ref.key
            if kind in ("games", "decisions") and "pathway" in key:
                continue
            table = whole.store.read(kind, [key])
            store.commit(kind, key, table, identity=record.identity)
    load_bank(whole.study, whole.store, ALIAS).save(bank_path(store, ALIAS))
    return Lane(study, ALIAS, whole.lane.loaded, []), store


def screen(lane: Lane, store: Store) -> None:
    for unit in screening.units(lane.study, store):
        screening.run(lane, store, unit)
    ranking.run(lane.study, store)


def test_every_feature_value_and_prompt_is_there_and_planted_ones_lead_with_their_sign(
    whole: Whole,
) -> None:
    rows = screened(whole)
    assert len(rows) == len(LAYERS) * 256 * 2 * 2
    ranked = ranking.top(whole.study, whole.store)
    known = planted(whole.study.models[ALIAS].sae)
    causal = {(layer, i) for layer in LAYERS for i in known[layer]["causal"]}
    first = ranked.head(len(causal))
    assert set(zip(first["layer"], first["feature"], strict=True)) == causal and len(causal) == 24
    null = ranking.planted_among(whole.study, ranked, "null")
    assert null.sum() == 24
    assert ranked[null]["contrast"].abs().max() < 0.2 < 1 < first["contrast"].abs().min()
    # The sampled runs found effects of the same sign.
    tested = whole.store.read("effects").to_pandas()
    sampled = primary_stops(tested).set_index(["layer", "feature", "prompt"])["difference"]
    for row in first.itertuples():
        for prompt in SCENES:
            assert np.sign(sampled[row.layer, row.feature, prompt]) == np.sign(row.contrast)


def test_the_decisions_are_those_of_transformers_and_sae_lens(whole: Whole) -> None:
    rows = screened(whole).set_index(["layer", "feature", "prompt", "value_name"])
    statistics = whole.store.read("statistics").to_pandas().set_index(["layer", "feature"])
    random = np.random.default_rng(1)
    for layer in LAYERS:
        sae = load_sae(whole.study.models[ALIAS].sae, layer, "sae_lens")
        for feature in random.choice(256, 12, replace=False).tolist():
            for prompt, value in ((SCENES[0], "safe"), (SCENES[1], "risky")):
                row = rows.loc[(layer, feature, prompt, value)]
                mean = float(np.float32(statistics.loc[(layer, feature), f"mean_{value}"]))
                assert row["value"] == mean
                bet, stop = plain(whole.lane.loaded, prompt, layer, sae, feature, mean)
                assert row["log_odds"] == pytest.approx(stop - bet, rel=1e-5, abs=1e-5)
                assert row["p_stop"] == pytest.approx(1 / (1 + np.exp(bet - stop)), rel=1e-5)
                assert row["p_stop"] + row["p_bet"] == pytest.approx(1)
                assert pd.isna(row["decided"])


@torch.no_grad()
def plain(
    loaded: LoadedModel, prompt: str, layer: int, sae: Any, feature: int, value: float
) -> tuple[float, float]:
    """Logits of "1" and "2" by one uncached forward with a hook on the whole prompt."""

    def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
        x = output[:, -1]
        activations = sae.encode(x)
        error = x - sae.decode(activations)
        activations[:, feature] = value
        output = output.clone()
        output[:, -1] = sae.decode(activations) + error
        return output

    handle = loaded.model.model.layers[layer].register_forward_hook(hook)
    try:
        logits = loaded.model(torch.tensor([loaded.encode(render(prompt).text)])).logits[0, -1]
    finally:
        handle.remove()
    one, two = (loaded.tokenizer.convert_tokens_to_ids(text) for text in "12")
    return float(logits[one].double()), float(logits[two].double())


def test_a_feature_set_to_its_own_activation_is_the_unpatched_decision(whole: Whole) -> None:
    rows = screened(whole)
    same = rows["value"] == rows["own"]
    assert (rows["unchanged"] == same).all() and 0.2 < same.mean() < 0.9
    assert (rows[same]["shift"] == 0).all()
    assert (rows[same]["log_odds"] == rows[same]["unpatched"]).all()
    assert (rows[~same]["shift"] != 0).mean() > 0.9
    assert rows.groupby("prompt")["unpatched"].nunique().tolist() == [1, 1]


@pytest.mark.parametrize("by", ["contrast", "shift"])
def test_the_ranking_is_what_its_columns_say(whole: Whole, tmp_path: Path, by: str) -> None:
    sections = {"screening": {"features": "selected", "rank_by": by, "chunk": 7}}
    lane, store = after_selection(whole, tmp_path, **sections)
    screen(lane, store)
    rows, ranked = store.read("screening").to_pandas(), ranking.top(lane.study, store)
    assert rows["decided"].between(0.9, 1).all()
    assert np.allclose(rows["p_stop"] + rows["p_bet"], rows["decided"], rtol=1e-12)
    assert ranked["rank"].tolist() == list(range(1, len(ranked) + 1))
    assert ranked[by].abs().is_monotonic_decreasing
    for row in ranked.itertuples():
        mine = rows[(rows["layer"] == row.layer) & (rows["feature"] == row.feature)]
        assert len(mine) == 4
        assert abs(row.shift) == mine["shift"].abs().max()
        at = (mine["prompt"] == row.prompt) & (mine["value_name"] == row.value_name)
        assert mine[at]["shift"].tolist() == [row.shift]
        wide = mine.pivot(index="prompt", columns="value_name", values="log_odds")
        contrast = wide["safe"] - wide["risky"]
        assert abs(row.contrast) == contrast.abs().max()
        assert contrast[row.contrast_prompt] == row.contrast
        assert row.unchanged == mine["unchanged"].all()
    # The selected features' vectors come from the bank, all features' from the SAE.
    every = screened(whole).set_index(["layer", "feature", "prompt", "value_name"])["log_odds"]
    here = rows.set_index(["layer", "feature", "prompt", "value_name"])["log_odds"]
    assert np.allclose(every.loc[here.index], here, rtol=1e-5, atol=1e-5)


def test_sampled_stop_rates_agree_within_binomial_error(whole: Whole, tmp_path: Path) -> None:
    """Under the model's own distribution; the noise is shared, so each arm has its own test."""
    sampling = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": 24}
    trials = 400
    lane, store = after_selection(
        whole,
        tmp_path,
        screening={"features": "selected"},
        patching={"sampling": sampling, "trials": trials, "full_response": False},
    )
    screen(lane, store)
    ranked = ranking.top(lane.study, store)
    bank = load_bank(lane.study, store, ALIAS)
    pairs = list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
    wanted = [ranked.iloc[i] for i in (0, 9, 18, 40, len(ranked) - 1)]
    bank.rows([pairs.index((row.layer, row.feature)) for row in wanted]).save(
        bank_path(store, ALIAS)
    )
    expected = store.read("screening").to_pandas()
    patching.run(lane, store, patching.baseline_unit(lane.study))
    for unit in patching.units(lane.study, store):
        patching.run(lane, store, unit)
    runs = store.read("trials").to_pandas()
    exact = expected.set_index(["layer", "feature", "prompt", "value_name"])
    p_values = []
    for (layer, feature, prompt, arm), of_arm in runs.groupby(
        ["layer", "feature", "prompt", "arm"], dropna=False
    ):
        decided = of_arm[of_arm["decision"] != "none"]
        assert len(decided) > 0.97 * trials
        if arm == patching.BASELINE:
            log_odds = expected[expected["prompt"] == prompt]["unpatched"].iloc[0]
        else:
            log_odds = exact.loc[(int(layer), int(feature), prompt, arm), "log_odds"]
        p_stop = 1 / (1 + np.exp(-log_odds))
        stops = int((decided["decision"] == "stop").sum())
        p_values.append(stats.binomtest(stops, len(decided), p_stop).pvalue)
    assert len(p_values) == 2 * (5 * 2 + 1)
    assert min(p_values) > 0.001, sorted(p_values)
    # The test can tell: the unpatched rate does not fit the strongest feature's runs.
    strongest = runs[(runs["layer"] == wanted[0].layer) & (runs["feature"] == wanted[0].feature)]
    safe = strongest[(strongest["arm"] == "safe") & (strongest["prompt"] == SCENES[1])]
    unpatched = expected[expected["prompt"] == SCENES[1]]["unpatched"].iloc[0]
    stops = int((safe["decision"] == "stop").sum())
    assert stats.binomtest(stops, len(safe), 1 / (1 + np.exp(-unpatched))).pvalue < 1e-6


@pytest.mark.parametrize("model", ["llama", "gemma"])
def test_the_first_token_of_the_labs_models_decides(model: str) -> None:
    loaded = load_model(f"pitboss/lab-{model}")
    prompts = [render(name) for name in SCENES]
    tokens = choice_tokens(loaded, prompts)
    assert {name: [loaded.decode([t]) for t in ids] for name, ids in tokens.items()} == {
        "bet": ["1"],
        "stop": ["2"],
    }
    screen = Screen(
        loaded,
        width=8,
        prompts=[tuple(loaded.encode(prompt.text)) for prompt in prompts],
        choices=tokens,
    )
    decided = screen.unpatched.decided
    assert decided is not None and (decided > 0.99).all() and (decided < 1).all()
    require_decided(screen, prompts, 0.5)
    with pytest.raises(BadInput, match=r"below 0.9999 in exp2/safe \(0.99"):
        require_decided(screen, prompts, 0.9999)


def test_a_prompt_whose_decision_comes_later_is_refused_before_any_work(whole: Whole) -> None:
    with pytest.raises(BadInput, match="argues before it decides"):
        small_study(screening={"prompts": ["exp0/planned"]})
    games = render("exp0/planned", State(ALL_CONDITIONS[0], 100))
    with pytest.raises(BadInput, match=r"first token.*prompt exp0/planned"):
        choice_tokens(whole.lane.loaded, [render(SCENES[0]), games])


def test_a_prompt_that_is_rarely_decided_at_once_is_refused(whole: Whole, tmp_path: Path) -> None:
    lane, store = after_selection(whole, tmp_path, screening={"min_decided_mass": 0.9999})
    with pytest.raises(BadInput, match="min_decided_mass"):
        screening.run(lane, store, screening.units(lane.study, store)[0])
    assert store.refs("screening") == []


def test_chunks_change_no_row(whole: Whole, tmp_path: Path) -> None:
    lane, store = after_selection(whole, tmp_path, screening={"chunk": 100})
    units = screening.units(lane.study, store)
    assert [len(unit.payload.features) for unit in units] == [100, 100, 56] * 2
    screen(lane, store)
    assert store.read("screening").equals(whole.store.read("screening"))
    assert ranking.top(lane.study, store).equals(ranking.top(whole.study, whole.store))


# One process loads the model and forks; each child goes on with the screening until it dies.
DIE_AGAIN_AND_AGAIN = """
import os, signal, sys
from pathlib import Path

import sae_lens  # once, not in every child
import torch
torch.set_num_threads(1)

from pitboss.analysis.findings import primary_stops
from pitboss.experiments import ranking, screening
from pitboss.experiments.lane import open_lane
from pitboss.experiments.study import open_store
from tests.experiments.small import ALIAS, small_study

study = small_study(screening={"chunk": 100})
lane = open_lane(study, ALIAS, "cpu")

def dying(call, left):
    def counted(*args, **kwargs):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return counted

for renames in map(int, sys.argv[2:]):
    if (pid := os.fork()) == 0:
        store = open_store(study, Path(sys.argv[1]))
        os.rename = dying(os.rename, renames)
        for unit in screening.units(study, store):
            screening.run(lane, store, unit)
        ranking.run(study, store)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(status, len(open_store(study, Path(sys.argv[1])).refs("screening")))
"""


def test_killed_anywhere_it_goes_on_to_the_same_bytes(whole: Whole, tmp_path: Path) -> None:
    lane, store = after_selection(whole, tmp_path / "undisturbed", screening={"chunk": 100})
    _, killed = after_selection(whole, tmp_path / "killed", screening={"chunk": 100})
    screen(lane, store)
    # Before the first part is in its place; between a part and its record; later; in the ranking.
    renames = ["1", "4", "3", "10", "0"]
    done = subprocess.run(
        [sys.executable, "-c", DIE_AGAIN_AND_AGAIN, str(tmp_path / "killed"), *renames],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    told = [line.split() for line in done.stdout.splitlines()]
    assert told == [["-9", "0"], ["-9", "1"], ["-9", "2"], ["-9", "6"], ["0", "6"]], done.stderr
    assert parquet_bytes(killed) == parquet_bytes(store)
    assert all(problem.harmless for problem in killed.verify())


@pytest.mark.parametrize("which", ["all", "selected"])
def test_patching_confirms_the_features_that_lead(whole: Whole, tmp_path: Path, which: str) -> None:
    confirm = {"screen": True, "confirm": "top 5", "trials": 2}
    lane, store = after_selection(whole, tmp_path, screening={"features": which}, patching=confirm)
    study = lane.study
    with pytest.raises(BadInput, match="bank"):
        patching.units(study, store)
    screen(lane, store)
    ranked = ranking.top(study, store, 5)
    units = patching.units(study, store)
    named = {(unit.payload.bank.layer[i].item(), unit.payload.bank.feature[i].item())
             for unit in units for i in range(len(unit.payload.bank))}  # fmt: skip
    assert named == set(zip(ranked["layer"], ranked["feature"], strict=True)) and len(named) == 5
    selected = {unit.key for unit in patching.units(whole.study, whole.store)}
    for unit in units:
        assert unit.identity["screened"]["confirm"] == 5 and unit.key not in selected
    # What is patched is the feature and the values that the selection would have patched.
    bank, other = ranking.patched_bank(study, store), load_bank(study, store, ALIAS)
    pairs = list(zip(other.layer.tolist(), other.feature.tolist(), strict=True))
    rows = other.rows([pairs.index(pair) for pair in sorted(named)])
    for name in ("enc", "shift", "scale", "bias", "threshold", "dec"):
        assert torch.equal(getattr(bank, name), getattr(rows, name))
    assert all(torch.equal(bank.values[name], rows.values[name]) for name in ("safe", "risky"))
    for unit in patching.all_units(study, store):
        patching.run(lane, store, unit)
    effects.run(study, store)
    tested = store.read("effects", [effects.key(study, store)]).to_pandas()
    mine = tested[tested["role"] == "feature"]
    assert set(zip(mine["layer"], mine["feature"], strict=True)) == named
    with pytest.raises(Incomplete):
        summary.write(study, store)
    told = store.read_json("summary.json")
    assert told["patched_features"] == told["screened"]["confirm"] == 5
    assert not [problem for problem in told["problems"] if problem.startswith(("patch", "screen"))]
    # Another number is another bank.
    fewer = study.model_copy(update={"patching": study.patching.model_copy(update={"confirm": 3})})
    with pytest.raises(Mismatch, match="confirm 5, this work needs 3"):
        patching.units(fewer, store)


def test_features_that_change_nothing_are_not_confirmed(whole: Whole, tmp_path: Path) -> None:
    lane, store = after_selection(whole, tmp_path, patching={"screen": True, "confirm": 512})
    screen(lane, store)
    ranked = ranking.top(lane.study, store)
    moving = int((~ranked["unchanged"]).sum())
    assert len(ranked) == 512 and len(ranking.patched_bank(lane.study, store)) == moving < 512


def test_what_it_needs_is_asked_for(whole: Whole, tmp_path: Path) -> None:
    study = small_study()
    store = open_store(study, tmp_path)
    with pytest.raises(Incomplete, match="statistics"):
        screening.units(study, store)
    selected = small_study(screening={"features": "selected"})
    with pytest.raises(BadInput, match="bank"):
        screening.units(selected, store)
    without: Study = study.model_copy(update={"screening": None})
    with pytest.raises(BadInput, match="no screening section"):
        screening.units(without, store)
    lane, ready = after_selection(whole, tmp_path / "ready")
    with pytest.raises(Incomplete, match="screening"):
        ranking.run(lane.study, ready)
    shutil.rmtree(ready.path / "parts" / "statistics")
    with pytest.raises(Incomplete, match="statistics"):
        screening.units(lane.study, Store.open(ready.path))
    assert features.selection_key(study, ALIAS)
