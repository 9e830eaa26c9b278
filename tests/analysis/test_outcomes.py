"""Stakes, extreme bets and readable runs are counted and tested as scipy would, and by state."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pitboss.analysis.effects import causal_features, counted, effects
from pitboss.analysis.findings import clearest, expected_false, false_positives, findings
from pitboss.analysis.pairs import count_pairs
from pitboss.store import table_of
from pitboss.store.columns import conform
from pitboss.store.schemas import kind_of
from tests.analysis.simulated import PROMPTS, trials

NULL = dict.fromkeys(range(100, 140), (0.5, 0.5))


def in_states(
    frame: pd.DataFrame, states: int, stakes: dict[str, tuple[float, float]]
) -> pd.DataFrame:
    """The runs dealt to the states of one set; stakes by arm are uniform."""
    random = np.random.default_rng(8)
    number = frame["trial"] % states
    frame = frame.assign(scene="exp2/states", prompt="exp2/states/" + number.map("{:04d}".format))
    frame["trial"] = frame["trial"] // states
    drawn = [random.uniform(*stakes.get(arm, (0.1, 0.4))) for arm in frame["arm"]]
    # Rich states bet less of what they own: a difference between states, not between arms.
    frame["balance"] = 100 * (1 + number)
    frame["amount"] = np.where(frame["decision"] == "bet", np.array(drawn) * 100, np.nan)
    return frame


def row(table: pd.DataFrame, feature: int, outcome: str, prompt: str = PROMPTS[0]) -> pd.Series:
    chosen = table[(table["contrast"] == "safe_vs_risky") & (table["outcome"] == outcome)]
    return chosen[chosen["prompt"] == prompt].set_index("feature").loc[feature]


def test_stakes_are_compared_by_the_mann_whitney_test_and_welchs_interval() -> None:
    frame = trials({1: (0.3, 0.3), 2: (0.3, 0.3)}, n=40, seed=2)
    frame = frame[frame["prompt"] == PROMPTS[0]]
    frame = frame.assign(amount=np.where(frame["arm"] == "risky", 60.0, 20.0) + frame["trial"] % 7)
    table = effects(frame)
    for arm, contrast in (("risky", "safe_vs_risky"), ("baseline", "safe_vs_baseline")):
        a, b = (frame[(frame["arm"] == x) & (frame["decision"] == "bet")] for x in ("safe", arm))
        a = a[a["feature"] == 1]["amount"] / 100
        b = (b if arm == "baseline" else b[b["feature"] == 1])["amount"] / 100
        got = table[(table["contrast"] == contrast) & (table["outcome"] == "stake")]
        got = got.set_index("feature").loc[1]
        assert (got["n_a"], got["n_b"]) == (len(a), len(b))
        assert got["value_a"] == pytest.approx(a.mean()) and got["test"] == "rank"
        expected = stats.mannwhitneyu(a, b, method="asymptotic")
        assert got["p"] == pytest.approx(expected.pvalue)
        ends = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
        assert (got["ci_low"], got["ci_high"]) == pytest.approx((ends.low, ends.high))
    extreme = row(table, 1, "extreme")
    assert extreme["events_a"] == 0 and extreme["events_b"] == extreme["n_b"] > 0
    assert extreme["significant"] and not extreme["causal"]
    conform(kind_of("effects"), table_of("effects", table))


def test_stakes_within_states_find_what_the_states_differences_would_hide() -> None:
    frame = in_states(trials({1: (0.2, 0.2)}, n=48), 24, {"safe": (0.1, 0.2)})
    null = in_states(trials(NULL, n=48, seed=9), 24, {})
    table = effects(pd.concat([frame, null[null["arm"] != "baseline"]]))
    found = row(table, 1, "stake", "exp2/states")
    assert found["significant"] and found["difference"] < 0 and found["test"] == "rank"
    of_null = table[(table["outcome"] == "stake") & (table["feature"] >= 100)]
    assert of_null["p"].between(0, 1).all() and (of_null["p"] < 0.05).mean() < 0.15
    assert causal_features(table) == []


def test_runs_with_the_same_noise_are_compared_in_pairs_where_the_study_says_so() -> None:
    frame = trials({1: (0.8, 0.3), **NULL}, seed=4, none={(1, "safe"): 0.1})
    got = row(effects(frame, test="paired"), 1, "stop")
    mine = frame[(frame["prompt"] == PROMPTS[0]) & (frame["feature"] == 1)]
    pairs = count_pairs(mine, ["feature"]).iloc[0]
    expected = stats.binomtest(int(pairs["up"]), int(pairs["up"] + pairs["down"])).pvalue
    assert got["p"] == pytest.approx(expected) and got["test"] == "paired"
    lost = stats.binomtest(
        int(pairs["up"]), int(pairs["up"] + pairs["down"] + pairs["open_down"])
    ).pvalue
    assert got["p_worst"] == pytest.approx(lost)


def test_controls_meet_the_features_cutoff_and_change_no_feature() -> None:
    features = trials({1: (0.95, 0.05), 2: (0.9, 0.1), **NULL})
    loud = {5: (0.95, 0.05), **dict.fromkeys(range(200, 219), (0.5, 0.5))}
    random = trials(loud, seed=3, role="random_feature")
    random = random[random["role"] != "baseline"]
    alone, both = effects(features), effects(pd.concat([features, random]))
    mine = both[both["role"] == "feature"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone)
    assert causal_features(both) == [(3, 1), (3, 2)]
    assert not both.loc[both["role"] == "random_feature", "causal"].any()
    share = false_positives(both)["random_feature"]
    assert (share["tested"], share["hits"], share["rate"]) == (20, 1, 0.05)
    exact = stats.binomtest(1, 20).proportion_ci(method="exact")
    assert (share["low"], share["high"]) == pytest.approx((exact.low, exact.high))
    assert expected_false(both)[0] == 2  # 5 % of 42 patched features, but only 2 were counted
    assert expected_false(alone) is None


def test_a_finding_is_the_clearest_contrast_that_counted() -> None:
    """Feature 1 looks clearest where its arm cannot be read, and counts in the other scene."""
    frame = trials({1: (0.9, 0.1), 2: (0.5, 0.5), **NULL}, n=40)
    here = (frame["prompt"] == PROMPTS[1]) & (frame["feature"] == 1)
    broken = frame[here & (frame["arm"] == "safe")]
    drawn = np.where(np.arange(40) < 18, "stop", "none")
    frame = pd.concat([frame[~(here & (frame["arm"] == "safe"))], broken.assign(decision=drawn)])
    table = effects(frame)
    assert row(table, 1, "stop", PROMPTS[1])["unreadable_arm"] == "safe"
    standing = counted(table) & (table["prompt"] == PROMPTS[1]) & (table["feature"] == 1)
    assert not standing.any()
    runs = {(3, f): 160 for f in (1, 2, *NULL)}
    found = findings(table, runs, {(3, 1): -1.5}, {}).set_index("feature")
    one = found.loc[1]
    assert one["causal"] and one["prompt"] == PROMPTS[0] and one["prompts_causal"] == 1
    assert one["unreadable"] and one["d"] == -1.5 and one["runs"] == 160
    assert not found.loc[2, "causal"] and found["confirmed"].isna().all()
    assert len(clearest(table)) == len(found) == 42
    conform(kind_of("findings"), table_of("findings", found.reset_index()))


def test_what_cannot_differ_is_not_testable_and_in_no_family() -> None:
    table = effects(trials(NULL))
    assert set(table["outcome"]) == {"stop", "stake", "extreme", "readable"}
    for outcome, reasons in (
        ("stake", {"every_stake_is_the_same", "too_few_bets"}),
        ("extreme", {"no_bet_is_extreme", "too_few_runs"}),
        ("readable", {"every_run_is_readable"}),
    ):
        of_outcome = table[table["outcome"] == outcome]
        assert set(of_outcome["reason"]) <= reasons and of_outcome["q"].isna().all()
