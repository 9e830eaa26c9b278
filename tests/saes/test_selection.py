"""Planted differences are selected, the strongest first, and shortfalls are said."""

import numpy as np
import pytest

from pitboss.errors import BadInput
from pitboss.saes.selection import SelectionRules, select
from pitboss.saes.statistics import StatisticsRules, compare_features
from pitboss.saes.sums import GroupSums
from pitboss.store.columns import conform
from pitboss.store.schemas import kind_of

PLANTED = {0: {5: 1.5, 9: -1.0, 11: 0.8}, 1: {2: 2.0}}


def statistics(seed: int = 0):
    random, sums = np.random.default_rng(seed), {}
    for layer, shifts in PLANTED.items():
        risky = np.abs(random.normal(3, 1, (120, 40)))
        safe = random.permutation(risky)  # the same values: no difference but the planted ones
        for feature, shift in shifts.items():
            risky[:, feature] += shift
        risky[:, 0] = safe[:, 0] = 0
        sums[layer] = {"risky": GroupSums.of(risky), "safe": GroupSums.of(safe)}
    return compare_features(sums, StatisticsRules(), model="m", sae="s")


def test_planted_features_are_chosen_by_size_and_the_shortfall_is_said() -> None:
    chosen = select(statistics(), SelectionRules(per_layer=2))
    assert chosen.ids == {0: [5, 9], 1: [2]}
    ranks = chosen.features.set_index(["layer", "feature"])["rank"]
    assert ranks[0, 5] == 1 and ranks[0, 9] == 2 and ranks[1, 2] == 1
    assert list(chosen.features["direction"]) == [
        "higher_in_risky",
        "higher_in_safe",
        "higher_in_risky",
    ]
    layers = chosen.layers.set_index("layer")
    assert layers.loc[0].to_dict() == {
        "features": 40, "tested": 39, "passed_unadjusted": 3, "passed": 3, "selected": 2,
        "asked": 2, "included": 0, "shortfall": 0,
    }  # fmt: skip
    assert chosen.shortfall == "3 of 4 features asked for pass the rules; fewer in L1 1."
    assert "All 2 features" in select(statistics(), SelectionRules(per_layer=1)).shortfall
    conform(kind_of("features"), chosen.table)


def test_included_features_come_beside_the_others_and_keep_their_own_values() -> None:
    frame = statistics()
    chosen = select(frame, SelectionRules(per_layer=1), include={0: [0, 5, 7], 1: [3]})
    assert chosen.ids == {0: [0, 5, 7], 1: [2, 3]}
    by_name = chosen.features.set_index(["layer", "feature"])
    assert by_name.loc[(0, 5), "chosen_by"] == "statistics"
    assert by_name.loc[(0, 7), "chosen_by"] == "included" and np.isnan(by_name.loc[(0, 7), "rank"])
    assert by_name.loc[(0, 0), "direction"] is None  # never fired, never tested
    row = frame.set_index(["layer", "feature"]).loc[(1, 3)]
    assert chosen.values["risky"][1, 3] == row["mean_risky"]
    assert chosen.values["safe"][1, 3] == row["mean_safe"]
    assert [d.rule for d in chosen.doubts] == ["equal_values"]
    assert list(chosen.layers["included"]) == [2, 1]
    conform(kind_of("features"), chosen.table)


@pytest.mark.parametrize(
    "rules",
    [
        SelectionRules(min_abs_d=99),
        SelectionRules(max_p=0.0),
        SelectionRules(fdr=-1.0),
        SelectionRules(per_layer=0),
    ],
)
def test_every_rule_bites_and_nothing_chosen_is_an_error(rules: SelectionRules) -> None:
    with pytest.raises(BadInput, match="No feature passes the rules: 78 of 80 were tested"):
        select(statistics(), rules)
    assert select(statistics(), rules, include={1: [4]}).ids == {1: [4]}


def test_included_features_that_do_not_exist_are_refused() -> None:
    with pytest.raises(BadInput, match="first feature 40 of layer 0"):
        select(statistics(), SelectionRules(), include={0: [40]})


def test_means_that_no_token_can_have_are_reported() -> None:
    thresholds = {0: 3.5, 1: np.full(40, 0.1)}
    [doubt] = select(statistics(), SelectionRules(), thresholds=thresholds).doubts
    assert doubt.rule == "outside_gate" and doubt.entries == 3
    assert doubt.examples[0]["layer"] == 0
