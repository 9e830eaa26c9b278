"""The adjusted comparison against statsmodels, a jackknife by brute force, and planted answers."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import torch

from pitboss.errors import BadInput
from pitboss.saes.adjusted import Design, RunningAdjusted, covariate_design, matched_design
from pitboss.saes.selection import SelectionRules, select
from pitboss.saes.statistics import StatisticsRules, compare_features
from pitboss.saes.sums import GroupSums

Array = np.ndarray[Any, Any]


def games(seed: int, states: int = 240) -> tuple[Array, Array, Array]:
    """Group (1 risky), balance and round; the poor are more often in the risky group."""
    random = np.random.default_rng(seed)
    balance = random.integers(1, 30, states) * 10.0
    played = random.integers(1, 12, states).astype(float)
    risky = random.random(states) < 1 / (1 + np.exp((balance - 90) / 50))
    return risky.astype(int), balance, played


def streamed(design: Design, values: Array, at_once: int = 64) -> RunningAdjusted:
    running = RunningAdjusted(design, values.shape[1])
    for batch in design.batches(at_once):
        running.add(batch, torch.from_numpy(values[batch]))
    return running


def test_differences_and_errors_are_those_of_statsmodels() -> None:
    risky, balance, played = games(1)
    random = np.random.default_rng(2)
    values = np.maximum(random.normal(0, 1, (240, 12)) * (1 + balance[:, None] / 100), 0)
    values = values.astype(np.float32)
    design = covariate_design(risky, 1 - risky, np.column_stack([balance, played, balance * 2]))
    found = streamed(design, values).result()
    regressors = np.column_stack([risky, np.ones(240), balance, played])  # one was redundant
    for j in range(12):
        fit = sm.OLS(values[:, j].astype(float), regressors).fit()
        robust = fit.get_robustcov_results("HC3")
        assert found.difference[j] == pytest.approx(fit.params[0], rel=1e-9)
        assert found.se[j] == pytest.approx(fit.bse[0], rel=1e-9)
        assert found.se_robust[j] == pytest.approx(robust.bse[0], rel=1e-9)
        assert design.df == fit.df_resid == design.df_robust


def test_cells_are_the_regression_on_a_dummy_of_each_cell() -> None:
    risky, balance, played = games(3)
    values = np.random.default_rng(4).normal(5, 1, (240, 6)).astype(np.float32)
    cell = balance // 30 * 100 + played // 4
    design = matched_design(risky, 1 - risky, cell)
    found = streamed(design, values, at_once=16).result()
    both = pd.Series(risky).groupby(cell).transform("nunique").to_numpy() == 2
    assert 0 < both.sum() < 240  # some cells lack a group
    assert (design.n_risky, design.n_safe) == (risky[both].sum(), (1 - risky)[both].sum())
    assert design.cells == len(np.unique(cell[both]))
    dummies = (cell[both][:, None] == np.unique(cell[both])).astype(float)
    frame = pd.DataFrame({"cell": cell[both], "risky": risky[both]})
    for j in range(6):
        y = values[both, j].astype(float)
        fit = sm.OLS(y, np.column_stack([risky[both], dummies])).fit()
        assert found.difference[j] == pytest.approx(fit.params[0], rel=1e-9)
        assert found.se[j] == pytest.approx(fit.bse[0], rel=1e-9)
        assert found.se_robust[j] == pytest.approx(fit.get_robustcov_results("HC3").bse[0])
        # The declared weights: n_risky n_safe / n of each cell.
        of_cell = frame.assign(y=y).groupby("cell")
        n = of_cell["risky"].agg(["sum", "count"])
        weight = n["sum"] * (n["count"] - n["sum"]) / n["count"]
        means = frame.assign(y=y).pivot_table(index="cell", columns="risky", values="y")
        expected = (weight * (means[1] - means[0])).sum() / weight.sum()
        assert found.difference[j] == pytest.approx(expected, rel=1e-9)


def test_games_that_share_a_prompt_are_left_out_together() -> None:
    """The robust error is the jackknife over prompts: here each is left out and all is fitted."""
    risky, balance, played = games(5, states=60)
    random = np.random.default_rng(6)
    n_risky, n_safe = risky * random.integers(1, 4, 60), (1 - risky) * random.integers(1, 6, 60)
    n_safe[:5] += 2  # prompts that were shown in games of both groups
    n_risky[:5] += 1
    values = random.normal(2, 1, (60, 1))
    design = covariate_design(n_risky, n_safe, np.column_stack([balance, played]))
    found = streamed(design, values).result()
    state = np.repeat(np.arange(60), n_risky + n_safe)
    group = np.concatenate([[1] * r + [0] * s for r, s in zip(n_risky, n_safe, strict=True)])
    rows = np.column_stack([group, np.ones(len(state)), balance[state], played[state]])
    y = values[state, 0]

    def fit(keep: Array) -> float:
        return float(np.linalg.lstsq(rows[keep], y[keep], rcond=None)[0][0])

    whole = fit(np.ones(len(state), bool))
    without = np.array([fit(state != s) for s in range(60)])
    assert found.difference[0] == pytest.approx(whole, rel=1e-9)
    assert found.se_robust[0] == pytest.approx(np.sqrt(((without - whole) ** 2).sum()), rel=1e-9)


def test_a_feature_of_the_balance_is_found_unadjusted_and_gone_adjusted() -> None:
    risky, balance, played = games(7, states=400)
    random = np.random.default_rng(8)
    noise = random.normal(0, 0.3, (400, 4))
    told = [balance / 50, played / 4, risky * 0.6 + balance / 100, 0 * balance]
    values = (np.column_stack(told) + noise + 2).astype(np.float32)
    groups = {"risky": GroupSums.of(values[risky == 1]), "safe": GroupSums.of(values[risky == 0])}
    rules = StatisticsRules(min_fired=5, min_group=10)
    chosen = {}
    cell = pd.factorize(balance // 20 * 100 + played)[0]
    for name, design in {
        "covariates": covariate_design(risky, 1 - risky, np.column_stack([balance, played])),
        "matched": matched_design(risky, 1 - risky, balance * 100 + played // 6),
        "too fine": matched_design(risky, 1 - risky, cell),
    }.items():
        result = streamed(design, values).result()
        adjusted = pd.DataFrame(
            {
                "layer": 3,
                "feature": range(4),
                "n_risky": design.n_risky,
                "n_safe": design.n_safe,
                "difference": result.difference,
                "se": result.se_robust,
                "df": float(design.df_robust),
            }
        )
        frame = compare_features({3: groups}, rules, model="m", sae="s", adjusted=adjusted)
        assert frame.loc[0, "q"] < 1e-6 and frame.loc[0, "d"] < -0.5  # balance, unadjusted
        np.testing.assert_allclose(frame["mean_risky"], values[risky == 1].mean(0), rtol=1e-5)
        assert frame.loc[0, "p_adjusted"] > 0.01 and abs(frame.loc[0, "d_adjusted"]) < 0.25
        assert frame.loc[2, "q_adjusted"] < 0.01  # the group itself
        assert select(frame, SelectionRules()).ids[3] != [2]
        chosen[name] = select(frame, SelectionRules(adjusted=True)).ids
    assert chosen["covariates"] == chosen["matched"] == {3: [2]}


def test_the_same_bits_with_any_threads_and_the_same_numbers_in_any_batches() -> None:
    risky, balance, played = games(10)
    values = np.random.default_rng(11).normal(3, 1, (240, 300)).astype(np.float32)
    for design in (
        covariate_design(risky, 1 - risky, np.column_stack([balance, played])),
        matched_design(risky, 1 - risky, balance // 30),
    ):
        found, threads = [], torch.get_num_threads()
        for count in (1, 2, 1):
            torch.set_num_threads(count)
            found.append(streamed(design, values).result())
        torch.set_num_threads(threads)
        other = streamed(design, values, at_once=7).result()
        for name in ("difference", "se", "se_robust"):
            for again in found[1:]:
                np.testing.assert_array_equal(getattr(again, name), getattr(found[0], name))
            np.testing.assert_allclose(getattr(other, name), getattr(found[0], name), rtol=1e-9)


def test_groups_that_cannot_be_compared_are_refused() -> None:
    risky, balance, played = games(9)
    apart = np.where(risky == 1, 10.0, 200.0)
    with pytest.raises(BadInput, match="tell all .* risky from all"):
        covariate_design(risky, 1 - risky, np.column_stack([apart, played]))
    with pytest.raises(BadInput, match="None of 2 cells"):
        matched_design(risky, 1 - risky, apart)
    with pytest.raises(BadInput, match="too few to fit"):
        matched_design([1, 0], [0, 1], [5, 5])
