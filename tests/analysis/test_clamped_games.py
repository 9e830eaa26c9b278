"""Simulated games under patches: planted differences are found, controls stay where chance puts
them, and a game that is missing is told.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from pitboss.analysis.clamped_games import arm_effects, contrasts, hits
from pitboss.errors import BadInput, Incomplete
from pitboss.store.schemas_persistent import MEASURES

GAMES = 60
DRAWN = {"resamples": 2000, "seed": 3}


def arm(
    role: str, value: str, feature: float, p_bankrupt: float, rounds: float, luck: np.ndarray
) -> pd.DataFrame:
    """The games of one arm; `luck` [GAMES] is shared with all others."""
    bankrupt = luck < p_bankrupt
    return pd.DataFrame(
        {
            "model": "m",
            "game": [f"g{i:03d}" for i in range(GAMES)],
            "role": role,
            "arm": value,
            "layer": np.nan if role == "baseline" else 1.0,
            "feature": feature,
            "outcome": np.where(bankrupt, "bankruptcy", "voluntary_stop"),
            "rounds": np.round(rounds + 4 * luck),
            "betting": 0.2 + 0.1 * luck,
            "extreme": (luck < 0.2).astype(float),
            "loss_chasing": np.where(luck < 0.5, luck, np.nan),
        }
    )


@pytest.fixture(scope="module")
def played() -> pd.DataFrame:
    luck = np.random.default_rng(0).uniform(size=GAMES)
    noisy = [np.random.default_rng(n).uniform(size=GAMES) for n in range(1, 5)]
    return pd.concat(
        [
            arm("baseline", "baseline", np.nan, 0.3, 3, luck),
            arm("feature", "safe", 7, 0.05, 1, luck),
            arm("feature", "risky", 7, 0.7, 6, luck),
            arm("feature", "safe", 9, 0.3, 3, luck),  # changes nothing at all
            arm("feature", "risky", 9, 0.3, 3, luck),
            arm("random_direction", "safe", 7, 0.3, 3, noisy[0]),
            arm("random_direction", "risky", 7, 0.3, 3, noisy[1]),
            arm("random_direction", "safe", 9, 0.3, 3, noisy[2]),
            arm("random_direction", "risky", 9, 0.3, 3, noisy[3]),
        ],
        ignore_index=True,
    )


def of(table: pd.DataFrame, role: str, feature: int, value: str) -> pd.Series:
    mine = (table["role"] == role) & (table["feature"] == feature) & (table["arm"] == value)
    [row] = [row for _, row in table[mine].iterrows()]
    return row


def test_planted_differences_are_found_in_their_direction(played: pd.DataFrame) -> None:
    table = arm_effects(played, **DRAWN)
    assert len(table) == 9
    safe, risky = (of(table, "feature", 7, value) for value in ("safe", "risky"))
    assert safe["difference_bankruptcy"] < -0.1 and safe["q_bankruptcy"] < 0.05
    assert risky["difference_bankruptcy"] > 0.2 and risky["q_bankruptcy"] < 0.001
    assert risky["difference_stop"] == pytest.approx(-risky["difference_bankruptcy"])
    assert safe["difference_rounds"] == pytest.approx(-2) and safe["q_rounds"] < 0.01
    assert risky["bankruptcies"] == round(risky["bankruptcy"] * GAMES) <= risky["n"] == GAMES
    assert risky["low"] < risky["bankruptcy"] < risky["high"]


def test_what_changes_nothing_is_nothing(played: pd.DataFrame) -> None:
    row = of(arm_effects(played, **DRAWN), "feature", 9, "safe")
    for name in MEASURES:
        assert row[f"difference_{name}"] == 0 and row[f"p_{name}"] == 1
    assert row["pairs_loss_chasing"] == row["with_chance"] < GAMES


def test_the_baseline_is_compared_with_nothing(played: pd.DataFrame) -> None:
    table = arm_effects(played, **DRAWN)
    row = table[table["role"] == "baseline"].iloc[0]
    assert row["name"] == "baseline" and row["pairs_bankruptcy"] == 0
    assert np.isnan(row["p_bankruptcy"]) and row["n"] == GAMES


def test_controls_are_a_family_of_their_own(played: pd.DataFrame) -> None:
    table = contrasts(played, **DRAWN)
    assert len(table) == 4 * len(MEASURES)
    both = table[table["measure"] == "bankruptcy"].set_index(["role", "feature"])
    assert both.loc[("feature", 7), "difference"] < -0.4
    assert both.loc[("feature", 7), "q"] < 0.001
    found = {(hit["measure"], hit["role"]): hit for hit in hits(table, 0.05)}
    features, controls = (found["bankruptcy", role] for role in ("feature", "random_direction"))
    assert (features["tested"], features["hits"]) == (2, 1)
    assert (controls["tested"], controls["hits"]) == (2, 0)
    assert features["cutoff"] == controls["cutoff"] == both.loc[("feature", 7), "p"]
    # Where no feature is significant there is no cutoff, and nothing is a hit.
    same = table.assign(q=1.0)
    assert all(hit["cutoff"] is None and hit["hits"] == 0 for hit in hits(same, 0.05))


def test_aborted_games_are_in_no_rate_and_in_no_pair(played: pd.DataFrame) -> None:
    gone = played.copy()
    which = (gone["feature"] == 7) & (gone["role"] == "feature") & (gone["game"] < "g010")
    gone.loc[which & (gone["arm"] == "risky"), "outcome"] = "aborted"
    row = of(arm_effects(gone, **DRAWN), "feature", 7, "risky")
    assert (row["games"], row["aborted"], row["n"]) == (GAMES, 10, 50)
    assert row["pairs_bankruptcy"] == row["pairs_rounds"] == 50
    assert row["pairs_aborted"] == GAMES and row["difference_aborted"] == pytest.approx(10 / GAMES)
    assert row["p_aborted"] == pytest.approx(2 * 0.5**10)


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (lambda g: g[g["role"] != "baseline"], Incomplete, "without a patch"),
        (lambda g: g.drop(g.index[-1]), Incomplete, "not those of the baseline"),
        (
            lambda g: g.replace({"g000": "g999"}).where(g["feature"] == 9, g),
            Incomplete,
            "not those",
        ),
        (lambda g: pd.concat([g, g.assign(model="n")]), BadInput, "several models"),
    ],
)
def test_games_that_do_not_belong_together_are_refused(
    played: pd.DataFrame,
    damage: Callable[[pd.DataFrame], pd.DataFrame],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        arm_effects(damage(played), **DRAWN)
