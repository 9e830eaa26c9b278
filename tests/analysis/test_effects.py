"""Planted effects are found, labelled the right way round, and noise is not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pitboss.analysis.effects import causal_features, effects
from pitboss.errors import BadInput, Incomplete
from pitboss.store import table_of
from pitboss.store.columns import conform
from pitboss.store.schemas import kind_of
from tests.analysis.simulated import PROMPTS, rows, trials

NULL = dict.fromkeys(range(100, 200), (0.5, 0.5))


def primary(table: pd.DataFrame, prompt: str = PROMPTS[0]) -> pd.DataFrame:
    chosen = (table["contrast"] == "safe_vs_risky") & (table["prompt"] == prompt)
    chosen &= (table["outcome"] == "stop") & (table["role"] == "feature")
    return table[chosen].set_index("feature")


def test_planted_features_are_causal_with_the_right_sign_and_null_ones_are_not() -> None:
    table = effects(trials({1: (0.95, 0.05), 2: (0.05, 0.95), **NULL}))
    assert causal_features(table) == [(3, 1), (3, 2)]
    assert table.groupby("feature")["causal"].nunique().max() == 1
    one, two = primary(table).loc[1], primary(table).loc[2]
    assert one["direction"] == "safe_value_increases_stop" and one["difference"] > 0.5
    assert two["direction"] == "safe_value_decreases_stop" and two["difference"] < -0.5
    assert one["ci_low"] > 0 and two["ci_high"] < 0
    assert one["log_odds_ratio"] > 0 > two["log_odds_ratio"]
    conform(kind_of("effects"), table_of("effects", table))


def test_counts_rates_and_p_are_those_of_the_runs() -> None:
    frame = trials({1: (0.8, 0.3), **NULL}, seed=4, none={(1, "safe"): 0.2})
    row = primary(effects(frame)).loc[1]
    runs = frame[(frame["feature"] == 1) & (frame["prompt"] == PROMPTS[0])]
    counts = runs.groupby("arm")["decision"].value_counts().unstack(fill_value=0)
    for arm, end in (("safe", "a"), ("risky", "b")):
        assert row[f"events_{end}"] == counts.loc[arm, "stop"]
        assert row[f"n_{end}"] == counts.loc[arm, ["bet", "stop"]].sum()
        assert row[f"none_{end}"] == counts.loc[arm].get("none", 0)
    cells = counts.loc[["safe", "risky"], ["stop", "bet"]].to_numpy()
    assert row["p"] == pytest.approx(stats.fisher_exact(cells).pvalue)
    assert row["value_a"] == cells[0, 0] / cells[0].sum()


def test_the_correction_runs_over_all_features_and_prompts_within_a_contrast() -> None:
    table = effects(trials({1: (0.9, 0.1), **NULL}, seed=5))
    for _, part in table.groupby("contrast"):
        tested = part["p"].dropna()
        expected = stats.false_discovery_control(tested)
        np.testing.assert_allclose(part.loc[tested.index, "q"], expected)


def test_both_values_acting_alike_is_no_effect_of_the_value() -> None:
    """The original's artefact: patching as such moves every patched arm off the baseline."""
    shifted = dict.fromkeys(range(60), (0.05, 0.05))
    table = effects(trials(shifted, baseline=0.95))
    stop = table[table["outcome"] == "stop"]
    baseline = stop[stop["contrast"] == "safe_vs_baseline"]
    assert baseline["significant"].mean() > 0.9
    assert (baseline["direction"] == "safe_value_decreases_stop").all()
    assert causal_features(table) == []


def test_labels_at_random_give_no_more_than_the_rate_allows() -> None:
    hits = sum(bool(causal_features(effects(trials(NULL, seed=s, n=20)))) for s in range(20))
    assert hits <= 4  # every null is true: expected at most 20 x .05 = 1, P(> 4) < .003


def test_arms_that_decide_alike_are_not_testable_and_outside_the_correction() -> None:
    frame = trials({1: (1.0, 1.0), 2: (0.0, 0.0), 3: (0.9, 0.1)})
    silent = trials({4: (0.5, 0.5)}, none={(4, "safe"): 1.0})
    table = effects(pd.concat([frame, silent[silent["arm"] != "baseline"]]))
    reasons = primary(table)["reason"]
    assert list(reasons.loc[[1, 2, 4]]) == [
        "every_run_stops",
        "every_run_bets",
        "too_few_decided_runs",
    ]
    untested = primary(table).loc[[1, 2, 4]]
    assert (untested["status"] == "not_testable").all() and untested[["p", "q"]].isna().all(
        axis=None
    )
    assert not untested["significant"].any() and untested["direction"].isna().all()
    assert primary(table).loc[3, "q"] <= 2 * primary(table).loc[3, "p"]
    assert np.isnan(primary(table).loc[4, "value_a"]) and np.isnan(primary(table).loc[4, "ci_low"])
    conform(kind_of("effects"), table_of("effects", table))


def test_an_effect_that_rests_on_unreadable_runs_is_flagged_and_not_causal() -> None:
    """At the safe value nearly all bets become unreadable: the stops that remain prove nothing."""
    frames = [trials(NULL, n=40)]
    for prompt in PROMPTS:
        frames.append(rows(prompt, "safe", 1, ["stop"] * 20 + ["none"] * 20))
        frames.append(rows(prompt, "risky", 1, ["stop"] * 20 + ["bet"] * 20))
        frames.append(rows(prompt, "safe", 2, ["stop"] * 40))
        frames.append(rows(prompt, "risky", 2, ["bet"] * 25 + ["none"] * 15))
    table = effects(pd.concat(frames))
    hidden, robust = primary(table).loc[1], primary(table).loc[2]
    assert hidden["significant"] and hidden["unreadable_arm"] == "safe"
    assert hidden["p_worst"] == 1.0 and not hidden["causal"]
    # 40 stops against 25 bets: even with 15 stops more in the other arm the effect stands.
    assert robust["unreadable_arm"] == "risky" and robust["causal"]
    worst = stats.fisher_exact([[40, 0], [15, 25]]).pvalue
    assert robust["p_worst"] == pytest.approx(worst)


def test_missing_arms_and_strange_input_are_refused() -> None:
    frame = trials({1: (0.9, 0.1), 2: (0.5, 0.5)})
    lost = frame[~((frame["feature"] == 2) & (frame["arm"] == "risky"))]
    with pytest.raises(Incomplete, match="feature 2 of layer 3 has no 'risky' run"):
        effects(lost)
    with pytest.raises(Incomplete, match="no 'baseline' run of prompt 'exp2/"):
        effects(frame[frame["arm"] != "baseline"])
    with pytest.raises(BadInput, match="no run patched"):
        effects(frame[frame["arm"] == "baseline"])
    with pytest.raises(BadInput, match="Unknown decisions .'fold'."):
        effects(frame.assign(decision="fold"))
    with pytest.raises(BadInput, match="several models"):
        effects(pd.concat([frame, frame.assign(model="other")]))


def test_order_of_the_runs_and_other_arms_do_not_matter() -> None:
    frame = trials({1: (0.9, 0.1), 2: (0.5, 0.5)})
    other = frame[frame["arm"] == "safe"].assign(arm="reconstruct_only")
    mixed = pd.concat([frame, other]).sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(effects(mixed), effects(frame))
