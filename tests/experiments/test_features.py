"""Statistics and selection against transformers, sae-lens and scipy, computed independently."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch
from scipy import stats
from transformers import AutoModelForCausalLM

from pitboss.experiments.games.experiment import Games
from pitboss.experiments.selection.groups import last_decisions
from pitboss.models.catalogue import sae_release
from pitboss.saes.loading import _load_with_sae_lens
from pitboss.saes.planted import planted
from tests.experiments.banks import selection_of
from tests.experiments.small import ALIAS, LAYERS, Whole

ENDS = {"bankruptcy": "risky", "voluntary_stop": "safe"}


class Independent(NamedTuple):
    """Activations [decisions, features] by layer, and the group of each decision."""

    activations: dict[int, np.ndarray[Any, Any]]
    near: dict[int, np.ndarray[Any, Any]]  # pre-activation so close that rounding decides
    groups: np.ndarray[Any, Any]
    decisions: pd.DataFrame  # prompt_text, balance, round, variable of each


def games_keys(whole: Whole) -> list[str]:
    games = whole.plan["games"]
    assert isinstance(games, Games)
    return [unit.key for unit in games.batches(ALIAS)]


@pytest.fixture(scope="module")
def independent(whole: Whole) -> Independent:
    """The last decision of each game, through transformers and then through sae-lens' encode."""
    keys = games_keys(whole)
    outcomes = whole.store.read("games", keys).to_pandas().set_index("key")["outcome"]
    outcomes = outcomes[outcomes.isin(list(ENDS))]
    decisions = whole.store.read("decisions", keys).to_pandas()
    loaded = whole.context.loaded
    model = AutoModelForCausalLM.from_pretrained(loaded.spec.local, dtype=torch.float32).eval()
    assert loaded.spec.n_layers == 4
    states: dict[int, list[torch.Tensor]] = {layer: [] for layer in LAYERS}
    last_block: list[torch.Tensor] = []
    # hidden_states[-1] lies behind the final norm, so the last block is read by a hook.
    hook = model.model.layers[3].register_forward_hook(lambda m, i, out: last_block.append(out))
    last = []
    for game in outcomes.index:
        mine = decisions[decisions["game"] == game]
        last.append(mine.loc[mine["round"].idxmax()])
        text = last[-1]["prompt_text"]
        with torch.no_grad():
            ids = torch.tensor([loaded.encode(text)])
            hidden = model(ids, output_hidden_states=True, use_cache=False).hidden_states
        states[1].append(hidden[2][0, -1])
        states[3].append(last_block.pop()[0, -1])
    hook.remove()
    activations, near = {}, {}
    release = sae_release(whole.study.models[ALIAS].sae)
    for layer in LAYERS:
        sae, _ = _load_with_sae_lens(release, release.sae_id_of(layer))
        x = torch.stack(states[layer])
        with torch.no_grad():
            activations[layer] = sae.encode(x).numpy()
            before = (x - sae.b_dec * sae.cfg.apply_b_dec_to_input) @ sae.W_enc + sae.b_enc
            near[layer] = ((before - sae.threshold).abs() < 1e-4).sum(0).numpy()
    shown = pd.DataFrame(last)[["prompt_text", "balance", "round", "condition"]]
    shown["variable"] = shown["condition"].str.startswith("variable").astype(int)
    return Independent(activations, near, outcomes.map(ENDS).to_numpy(), shown)


def test_sums_are_those_of_hidden_states_encoded_by_sae_lens(
    whole: Whole, independent: Independent
) -> None:
    sums = whole.store.read("sums").to_pandas()
    assert len(sums) == 2 * 2 * 256
    for (layer, group), rows in sums.groupby(["layer", "group"]):
        mine = independent.activations[layer][independent.groups == group].astype(np.float64)
        rows = rows.sort_values("feature")
        near = independent.near[layer]
        assert near.sum() <= 2
        exact = near == 0
        assert (rows["n"] == len(mine)).all() and len(mine) > 10
        assert (np.abs(rows["fired"] - (mine > 0).sum(0)) <= near).all()
        for column, expected in (("total", mine.sum(0)), ("total_squared", (mine**2).sum(0))):
            found = rows[column].to_numpy()
            np.testing.assert_allclose(
                found[exact], expected[exact], rtol=2e-5, atol=1e-5 * expected.max()
            )
        assert (mine.sum(0) > 0).sum() > 20


def test_statistics_are_scipys(whole: Whole, independent: Independent) -> None:
    statistics = whole.store.read("statistics").to_pandas()
    tested = statistics[statistics["status"] == "tested"]
    assert len(tested) > 40
    shown = independent.decisions.assign(group=independent.groups)
    once = ~shown.duplicated(["prompt_text", "group"]).to_numpy()
    assert once.sum() < len(once)  # some games end at the same prompt
    assert not shown[once].duplicated("prompt_text").any()  # so that the jackknife's error is HC3
    others = [shown[name].to_numpy(float) for name in ("balance", "round", "variable")]
    group = (independent.groups == "risky").astype(float)
    regressors = np.column_stack([group, np.ones(len(group)), *others])[once]
    for row in tested.itertuples():
        column = independent.activations[row.layer][:, row.feature].astype(np.float64)
        every = column[independent.groups == "risky"].mean()
        assert row.mean_risky == pytest.approx(every, rel=1e-4, abs=1e-5)
        risky, safe = (column[once & (independent.groups == name)] for name in ("risky", "safe"))
        assert (len(risky), len(safe)) == (row.counted_risky, row.counted_safe)
        welch = stats.ttest_ind(risky, safe, equal_var=False)
        pooled = ((len(risky) - 1) * risky.var(ddof=1) + (len(safe) - 1) * safe.var(ddof=1)) / (
            len(risky) + len(safe) - 2
        )
        assert row.t == pytest.approx(welch.statistic, rel=1e-3, abs=1e-3)
        assert row.d == pytest.approx(
            (risky.mean() - safe.mean()) / pooled**0.5, rel=1e-3, abs=1e-3
        )
        assert row.log_p == pytest.approx(np.log(welch.pvalue), rel=1e-2, abs=1e-2)
        fit = sm.OLS(column[once], regressors).fit().get_robustcov_results("HC3")
        assert row.t_adjusted == pytest.approx(fit.tvalues[0], rel=2e-3, abs=2e-3)
        assert row.d_adjusted == pytest.approx(fit.params[0] / pooled**0.5, rel=2e-3, abs=2e-3)
        assert row.log_p_adjusted == pytest.approx(np.log(fit.pvalues[0]), rel=1e-2, abs=1e-2)
    for p, q in (("p", "q"), ("p_adjusted", "q_adjusted")):
        expected = stats.false_discovery_control(tested[p])
        np.testing.assert_allclose(tested[q], expected, rtol=1e-9)
    assert statistics[statistics["status"] != "tested"]["p"].isna().all()


def test_the_selection_is_the_strongest_that_pass_and_the_planted_ones(whole: Whole) -> None:
    rules = selection_of(whole.plan).settings
    statistics = whole.store.read("statistics").to_pandas()
    chosen = whole.store.read("features").to_pandas()
    known = planted(whole.study.models[ALIAS].sae)
    for layer in LAYERS:
        mine = statistics[statistics["layer"] == layer]
        passed = mine[
            (mine["d_adjusted"].abs() >= rules.min_abs_d)
            & (mine["p_adjusted"] < rules.max_p)
            & (mine["q_adjusted"] <= rules.fdr)
        ]
        best = passed.assign(size=passed["d_adjusted"].abs()).nlargest(rules.per_layer, "size")[
            "feature"
        ]
        got = chosen[chosen["layer"] == layer]
        by_statistics = got[got["chosen_by"] == "statistics"]
        assert set(by_statistics["feature"]) == set(best) and len(best) == rules.per_layer
        assert sorted(by_statistics["rank"]) == list(range(1, rules.per_layer + 1))
        planted_ids = {i for ids in known[layer].values() for i in ids}
        assert set(got["feature"]) == set(best) | planted_ids
        assert got["feature"].is_unique
    means = statistics.set_index(["layer", "feature"])
    for row in chosen.itertuples():
        stated = means.loc[(row.layer, row.feature)]
        assert row.safe == pytest.approx(stated["mean_safe"], rel=1e-6)  # float32 there
        assert row.risky == pytest.approx(stated["mean_risky"], rel=1e-6)
        assert (row.direction == "higher_in_risky") == (row.d > 0)


def test_the_bank_holds_exactly_the_selected_features(whole: Whole) -> None:
    bank = selection_of(whole.plan).bank()
    chosen = whole.store.read("features").to_pandas().sort_values(["layer", "feature"])
    assert bank.layer.tolist() == chosen["layer"].tolist()
    assert bank.feature.tolist() == chosen["feature"].tolist()
    for name in ("safe", "risky"):
        assert torch.equal(bank.values[name], torch.tensor(chosen[name].tolist()))


def test_only_last_decisions_of_games_that_ended_either_way_count(whole: Whole) -> None:
    last = last_decisions(whole.store, games_keys(whole))
    table = whole.store.read("games").to_pandas()
    table = table[table["experiment"] == "games"].set_index("key")
    ends = table["outcome"].map(ENDS).dropna()
    assert len(ends) < len(table)  # some games ended otherwise
    assert last.set_index("game")["group"].to_dict() == ends.to_dict()
    decisions = whole.store.read("decisions").to_pandas().set_index("key")
    for row in last.itertuples():
        mine = decisions[decisions["game"] == row.game]
        assert decisions.loc[row.key, "round"] == mine["round"].max()
        assert pd.notna(decisions.loc[row.key, "decision"])


def test_others_read_means_firing_and_known_answers(whole: Whole, independent: Independent) -> None:
    selection = selection_of(whole.plan)
    means = selection.means(["risky", "safe"])
    known = planted(selection.sae)
    for layer in LAYERS:
        mine = independent.activations[layer].astype(np.float64)
        exact = independent.near[layer] == 0
        firing = selection.firing(layer)
        assert firing is not None
        np.testing.assert_allclose(
            means[layer],
            [mine[independent.groups == name].mean(0) for name in ("risky", "safe")],
            rtol=1e-4,
            atol=1e-5,
        )
        np.testing.assert_allclose(firing.rate[exact], (mine > 0).mean(0)[exact], rtol=1e-6)
        np.testing.assert_allclose(firing.mean, mine.mean(0), rtol=1e-4, atol=1e-5)
        for role, pairs in selection.known_answers().items():
            assert {i for at, i in pairs if at == layer} == set(known[layer][role])
    chosen = whole.store.read("features").to_pandas().dropna(subset=["d"])
    assert len(selection.differences()) == len(chosen) > 0
    for row in chosen.itertuples():
        assert selection.differences()[row.layer, row.feature] == row.d
