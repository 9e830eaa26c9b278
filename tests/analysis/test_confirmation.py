"""What is real is found again, what was luck is not, and a wrong direction confirms nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pitboss.analysis.confirmation import confirm
from pitboss.analysis.effects import counted, effects
from pitboss.analysis.findings import clearest, findings
from pitboss.errors import Incomplete
from pitboss.store import table_of
from pitboss.store.columns import conform
from pitboss.store.schemas import kind_of
from tests.analysis.simulated import trials


def again(frame: pd.DataFrame, candidates: pd.DataFrame) -> pd.DataFrame:
    """The candidates' runs in their scenes, as those of the confirmation."""
    wanted = pd.MultiIndex.from_frame(candidates[["feature", "prompt"]])
    mine = pd.MultiIndex.from_frame(frame[["feature", "prompt"]].fillna(-1)).isin(wanted)
    return frame[mine].assign(phase="confirmation")


def candidates(directions: dict[int, str], prompt: str = "exp2/safe") -> pd.DataFrame:
    rows = [(3, f, prompt, f"safe_value_{d}_stop") for f, d in directions.items()]
    return pd.DataFrame(rows, columns=["layer", "feature", "prompt", "direction"])


def test_real_effects_are_confirmed_and_lucky_ones_are_not() -> None:
    """The twelve clearest of 402 features, ten of them by luck; new runs tell them apart."""
    real = {1: (0.9, 0.2), 2: (0.2, 0.9)}
    lucky = dict.fromkeys(range(100, 500), (0.5, 0.5))
    table = effects(trials({**real, **lucky}))
    found = clearest(table).nsmallest(12, "p")
    runs = again(trials({**real, **lucky}, n=40, seed=77), found)
    tested = confirm(runs, found)
    hits = set(tested.loc[counted(tested), "feature"])
    assert {1, 2} <= hits and len(hits) <= 3
    conform(kind_of("effects"), table_of("effects", tested))
    every = {(3, f): 80 for f in (*real, *lucky)}
    confirmed = findings(table, every, {}, {}, tested).set_index("feature")["confirmed"]
    assert confirmed.loc[1] is True and confirmed.loc[2] is True
    assert sum(v is False for v in confirmed) == len(found) - len(hits)
    assert sum(v is None for v in confirmed) == 402 - len(found)


@pytest.mark.parametrize("test", ["fisher", "paired"])
def test_p_is_one_sided_in_the_direction_of_the_discovery(test: str) -> None:
    frame = trials({1: (0.9, 0.2), 2: (0.2, 0.9)}, n=30, none={(1, "safe"): 0.1})
    asked = candidates({1: "increases", 2: "increases"})
    runs = again(frame, asked)
    tested = confirm(runs, asked, test=test).set_index(["feature", "outcome"])
    stop = tested.loc[(slice(None), "stop"), :].droplevel("outcome")
    assert stop.loc[1, "significant"] and not stop.loc[2, "significant"]
    assert stop.loc[2, "p"] > 0.99
    of_one = runs[(runs["feature"] == 1) & (runs["decision"] != "none")]
    wide = of_one.pivot(index="trial", columns="arm", values="decision").dropna()
    up = int(((wide["safe"] == "stop") & (wide["risky"] == "bet")).sum())
    down = int(((wide["safe"] == "bet") & (wide["risky"] == "stop")).sum())
    counts = pd.crosstab(of_one["arm"], of_one["decision"]).loc[["safe", "risky"], ["stop", "bet"]]
    expected = (
        stats.fisher_exact(counts, alternative="greater").pvalue
        if test == "fisher"
        else stats.binomtest(up, up + down, alternative="greater").pvalue
    )
    assert stop.loc[1, "p"] == pytest.approx(expected)
    assert stop.loc[1, "p_worst"] > stop.loc[1, "p"]


def test_nothing_is_confirmed_more_often_than_the_rate_allows_when_nothing_is_there() -> None:
    asked = candidates(dict.fromkeys(range(60), "increases"))
    frames = [trials(dict.fromkeys(range(60), (0.5, 0.5)), n=20, seed=s) for s in range(15)]
    hits = [int(counted(confirm(again(frame, asked), asked)).sum()) for frame in frames]
    assert np.count_nonzero(hits) <= 3  # at most 15 x .05 are expected


def test_a_candidate_without_runs_is_missed() -> None:
    frame, asked = trials({1: (0.9, 0.1)}), candidates({1: "increases", 2: "increases"})
    with pytest.raises(Incomplete, match="2 features are to be confirmed, 1 were run"):
        confirm(again(frame, asked), asked)
    half = again(frame, asked)
    with pytest.raises(Incomplete, match="no 'risky' run"):
        confirm(half[half["arm"] == "safe"], asked)
