"""A decision planted to form with depth shows in the curve; noise does not."""

import numpy as np
import pandas as pd
import pytest

from pitboss.analysis.pathway import pathway
from pitboss.errors import BadInput
from pitboss.store import table_of
from pitboss.store.columns import conform
from pitboss.store.schemas import kind_of

LAYERS = [1, 2, 3, 4]
STRENGTH = {1: 0.0, 2: 0.0, 3: 1.5, 4: 3.0}


def played(seed: int = 0, strength: dict[int, float] = STRENGTH, features: int = 40):
    """25 bankrupt and 25 stopped games; feature 7 of deep layers rises at stops."""
    random = np.random.default_rng(seed)
    games, decisions, activations = [], [], []
    for number in range(50):
        stops = number % 2 == 1
        game, length = f"g{number}", int(random.integers(2, 7))
        outcome = "voluntary_stop" if stops else "bankruptcy"
        games.append({"key": game, "outcome": outcome})
        for turn in range(length):
            last = stops and turn == length - 1
            key = f"{game}/{turn}"
            decision = "stop" if last else "bet"
            decisions.append(
                {"key": key, "game": game, "model": "m", "round": turn + 1, "decision": decision}
            )
            for layer in LAYERS:
                values = np.maximum(random.normal(0, 1, features), 0)
                values[7] = max(values[7] + strength[layer] * last, 0)
                fired = np.flatnonzero(values)
                activations.append(
                    pd.DataFrame(
                        {"decision": key, "layer": layer, "feature": fired, "value": values[fired]}
                    )
                )
    return pd.DataFrame(decisions), pd.DataFrame(games), pd.concat(activations)


def test_the_planted_feature_leads_where_it_was_planted_and_the_curve_rises_with_depth() -> None:
    result = pathway(*played(), layers=LAYERS, top=1)
    features = result.features.set_index("layer")
    assert features.loc[4, "feature"] == 7 and features.loc[3, "feature"] == 7
    assert features.loc[4, "d"] > features.loc[3, "d"] > 0.8
    assert features.loc[4, "q"] < 1e-3 and features.loc[1, "q"] > 0.05
    assert result.notes == []
    curve = result.curve.set_index(["layer", "outcome", "before_end"])["score"]
    last = {layer: curve[layer, "voluntary_stop", 0] for layer in LAYERS}
    assert last[4] > last[3] > max(last[1], last[2])
    assert last[4] > 1 > 0 > curve[4, "voluntary_stop", 1]
    assert curve[4, "bankruptcy", 0] < 0
    for kind, frame in (("pathway", result.features), ("pathway_curve", result.curve)):
        conform(kind_of(kind), table_of(kind, frame))


def test_counts_and_means_are_those_of_the_dense_activations() -> None:
    decisions, games, activations = played(seed=2)
    row = pathway(decisions, games, activations, layers=[4], top=3).features.iloc[0]
    dense = activations[activations["layer"] == 4].pivot_table(
        index="decision", columns="feature", values="value", fill_value=0
    )[row["feature"]]
    stop = decisions.set_index("key")["decision"].loc[dense.index] == "stop"
    assert (row["n_stop"], row["n_bet"]) == (stop.sum(), (~stop).sum())
    assert row["mean_stop"] == pytest.approx(dense[stop].mean())
    assert row["fired_bet"] == (dense[~stop] > 0).sum()


def test_noise_makes_no_curve_although_the_top_features_are_chosen_from_many() -> None:
    """Choosing and scoring on the same games would show a score far above 0 here."""
    ends = []
    for seed in range(6):
        flat = dict.fromkeys(LAYERS, 0.0)
        curve = pathway(*played(seed, flat), layers=[1, 2], top=10).curve
        ends.append(curve[(curve["outcome"] == "voluntary_stop") & (curve["before_end"] == 0)])
    assert abs(pd.concat(ends)["score"].mean()) < 0.1


def test_retries_without_decision_are_left_aside_and_rounds_count_from_the_end() -> None:
    decisions, games, activations = played()
    silent = decisions.assign(key=decisions["key"] + "r", decision="none")
    mixed = pathway(pd.concat([silent, decisions]), games, activations, layers=[4])
    plain = pathway(decisions, games, activations, layers=[4])
    pd.testing.assert_frame_equal(mixed.curve, plain.curve)
    ends = plain.curve[plain.curve["before_end"] == 0].set_index("outcome")["decisions"]
    assert ends.to_dict() == {"bankruptcy": 25, "voluntary_stop": 25}


def test_too_little_data_is_said_not_computed() -> None:
    decisions, games, activations = played()
    few = decisions[decisions["game"].isin(["g0", "g1", "g2"])]
    result = pathway(few, games, activations, layers=[4])
    assert result.features.empty and result.curve.empty
    assert "Layer 4: no feature can be tested (1 stops" in result.notes[0]
    with pytest.raises(BadInput, match="0 stops"):
        pathway(decisions[decisions["decision"] == "bet"], games, activations, layers=[4])
    with pytest.raises(BadInput, match="belong to no game"):
        pathway(decisions, games.iloc[1:], activations, layers=[4])
