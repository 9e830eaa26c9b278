"""Every feature of the lab screened: planted ones lead, and sampled stop rates agree."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from pitboss.analysis.findings import primary_stops
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.screening import ranking
from pitboss.experiments.selection.experiment import bank_path, load_bank
from pitboss.games.prompts import render
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import load_sae
from pitboss.saes.planted import planted
from tests.experiments.screened import SCENES, after_selection, screen, screened
from tests.experiments.small import ALIAS, LAYERS, Whole


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
