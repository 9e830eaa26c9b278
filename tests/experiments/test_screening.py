"""Every feature of the lab screened: planted ones lead, and sampled stop rates agree."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pitboss.analysis.findings import primary_stops
from pitboss.experiments.patching.arms import BASELINE
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.saes.loading import load_sae
from pitboss.saes.planted import planted
from tests.experiments.banks import selection_of
from tests.experiments.screened import (
    SCENES,
    after_selection,
    plain,
    screen,
    screened,
    screening_of,
)
from tests.experiments.small import ALIAS, LAYERS, NO_CONTROLS, Whole


def test_every_feature_value_and_prompt_is_there_and_planted_ones_lead_with_their_sign(
    whole: Whole,
) -> None:
    rows = screened(whole)
    assert len(rows) == len(LAYERS) * 256 * 2 * 2
    ranked = screening_of(whole.plan).ranked()
    known = planted(whole.study.models[ALIAS].sae)
    causal = {(layer, i) for layer in LAYERS for i in known[layer]["causal"]}
    first = ranked.head(len(causal))
    assert set(zip(first["layer"], first["feature"], strict=True)) == causal and len(causal) == 24
    null_pairs = {(layer, i) for layer in LAYERS for i in known[layer]["null"]}
    null = np.array([p in null_pairs for p in zip(ranked["layer"], ranked["feature"], strict=True)])
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
                bet, stop = plain(whole.context.loaded, prompt, layer, sae, feature, mean)
                assert row["log_odds"] == pytest.approx(stop - bet, rel=1e-5, abs=1e-5)
                assert row["p_stop"] == pytest.approx(1 / (1 + np.exp(bet - stop)), rel=1e-5)
                assert row["p_stop"] + row["p_bet"] == pytest.approx(1)
                assert pd.isna(row["decided"])


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
    changes = {"features": "selected", "rank_by": by, "chunk": 7}
    plan, context = after_selection(whole, tmp_path, screening=changes)
    screen(plan, context)
    rows, ranked = plan.store.read("screening").to_pandas(), screening_of(plan).ranked()
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
    plan, context = after_selection(
        whole,
        tmp_path,
        screening={"features": "selected"},
        patching={
            "sampling": sampling,
            "trials": trials,
            "full_response": False,
            "controls": NO_CONTROLS,
        },
    )
    screen(plan, context)
    ranked, selection = screening_of(plan).ranked(), selection_of(whole.plan)
    bank = selection.bank()
    pairs = list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
    wanted = [ranked.iloc[i] for i in (0, 9, 18, 40, len(ranked) - 1)]
    some = bank.rows([pairs.index((row.layer, row.feature)) for row in wanted])
    expected = plan.store.read("screening").to_pandas()
    some.save(selection_of(plan).bank_path)
    plan = plan_of(plan.study, plan.store)  # knows nothing of the bank that was there
    carry_out_all(plan, plan["patching"], ALIAS, lambda _: context)
    runs = plan.store.read("trials").to_pandas()
    exact = expected.set_index(["layer", "feature", "prompt", "value_name"])
    p_values = []
    for (layer, feature, prompt, arm), of_arm in runs.groupby(
        ["layer", "feature", "prompt", "arm"], dropna=False
    ):
        decided = of_arm[of_arm["decision"] != "none"]
        assert len(decided) > 0.97 * trials
        if arm == BASELINE:
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
