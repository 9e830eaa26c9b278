"""The permutation null against permuting the table itself, and against what it is a null of."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pitboss.analysis.effects import effects
from pitboss.analysis.permutation import PermutationNull, permutation_null
from pitboss.errors import BadInput, Incomplete
from pitboss.saes.false_discovery import benjamini_hochberg
from tests.analysis.simulated import PROMPTS, trials

NULL = dict.fromkeys(range(100, 125), (0.5, 0.5))


def fisher_count(frame: pd.DataFrame, fdr: float) -> int:
    """Features with a significant prompt, by scipy alone."""
    patched = frame[frame["arm"].isin(["safe", "risky"]) & (frame["decision"] != "none")]
    rows = []
    for (feature, _), runs in patched.groupby(["feature", "prompt"]):
        table = pd.crosstab(runs["arm"], runs["decision"]).reindex(columns=["stop", "bet"])
        alike = (table.fillna(0).sum() == 0).any()
        rows.append((feature, np.nan if alike else stats.fisher_exact(table.to_numpy()).pvalue))
    who, p = zip(*rows, strict=True)
    return len(set(np.array(who)[benjamini_hochberg(np.array(p)) <= fdr]))


def permuted(frame: pd.DataFrame, coins: dict[tuple[str, int], bool]) -> pd.DataFrame:
    swap = [coins.get((p, t), False) for p, t in zip(frame["prompt"], frame["trial"], strict=True)]
    other = frame["arm"].map({"safe": "risky", "risky": "safe"}).fillna(frame["arm"])
    return frame.assign(arm=np.where(swap, other, frame["arm"]))


def test_counts_are_those_of_tables_whose_labels_are_swapped() -> None:
    frame = trials({1: (0.95, 0.05), 2: (0.1, 0.9), **NULL}, seed=3, none={(1, "safe"): 0.1})
    null = permutation_null(frame, fdr=0.3, permutations=2, seed=9)
    assert null.observed == fisher_count(frame, 0.3) >= 2
    random = np.random.default_rng(9)
    states = sorted(PROMPTS)
    for _ in states:
        random.random(20)  # the observed study's own coins, which are not tossed
    for count in null.counts:
        coins = {(p, t): u < 0.5 for p in states for t, u in enumerate(random.random(20))}
        assert count == fisher_count(permuted(frame, coins), 0.3)


def test_at_the_studys_own_cutoff_it_finds_what_the_study_found() -> None:
    frame = trials({1: (0.95, 0.05), 2: (0.05, 0.95), **NULL}, seed=1)
    table = effects(frame)
    primary = table[(table["contrast"] == "safe_vs_risky") & table["significant"]]
    cutoff = float(primary["p"].max())
    null = permutation_null(frame, cutoff=cutoff, permutations=100)
    stopping = primary[primary["outcome"] == "stop"]
    assert null.observed == stopping["feature"].nunique() == 2
    assert null.median == 0 and null.q95 <= 1 and null.p <= 2 / 101
    assert null.as_dict()["permutations"] == 100


@pytest.mark.parametrize("test", ["fisher", "paired"])
def test_without_effects_the_observed_count_is_one_of_the_permuted(test: str) -> None:
    """P(observed is above the permuted 95 % quantile) <= 5 % over 12 studies without an effect."""
    above = 0
    for seed in range(12):
        frame = trials(dict.fromkeys(range(15), (0.5, 0.5)), seed=seed, n=15)
        null = permutation_null(frame, cutoff=0.05, permutations=19, seed=seed, test=test)
        above += null.p <= 0.05
    assert above <= stats.binom.isf(0.001, 12, 0.05)


def test_summaries_and_refusals() -> None:
    null = PermutationNull(np.array([0] * 94 + [3] * 6), 2)
    assert null.median == 0 and null.q95 == 3 and null.p == pytest.approx(7 / 101)
    frame = trials({1: (0.9, 0.1)})
    lost = frame[~((frame["arm"] == "safe") & (frame["trial"] == 3))]
    with pytest.raises(Incomplete, match="no partner"):
        permutation_null(lost)
    with pytest.raises(BadInput, match="at least one permutation"):
        permutation_null(frame, permutations=0)
    early = frame["feature"].eq(1) & frame["trial"].ge(10)
    other = trials({2: (0.5, 0.5)}, seed=1)
    stopped = pd.concat([frame[~early], other[other["arm"] != "baseline"]])
    with pytest.raises(BadInput, match="different numbers of trials"):
        permutation_null(stopped)
