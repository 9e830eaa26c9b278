"""The ladder on runs whose truth is known: an artefact counts at the bottom and not at the top."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pitboss.analysis.effects import causal_features, effects
from pitboss.analysis.ladder import Step, as_rows, ladder
from pitboss.analysis.ladder_rules import chi2_p
from tests.analysis.simulated import PROMPTS, dressed

TRUE = (0, 1, 2)


def reconstructed(features: int = 60, n: int = 30, seed: int = 0) -> pd.DataFrame:
    """Runs of a study in which patching as such moves both arms, by another amount per feature.

    The shift is that of both values alike, so the differences of the two arms from the baseline
    have a correlation above .9; the first three features have an effect of their value besides.
    Responses of the keyword reader call a fifth of the bets a stop.
    """
    random = np.random.default_rng(seed)
    shift = random.normal(0, 0.28, features)
    listed: list[tuple] = []
    for prompt in PROMPTS:
        noise = random.random(n)
        arms = [("baseline", None, np.full(1, 0.5))]
        for arm, side in (("safe", 0.45), ("risky", -0.45)):
            own = np.where(np.isin(np.arange(features), TRUE), side, 0.0)
            arms.append((arm, 3, np.clip(0.5 + np.where(own == 0, shift, own), 0.02, 0.98)))
        for arm, layer, stop in arms:
            for f, chance in enumerate(stop):
                for t in range(n):
                    # Each arm's text goes its own way after the first word.
                    stops = (noise[t] if random.random() < 0.5 else random.random()) < chance
                    stake = 10.0 if random.random() < 0.6 else 20.0
                    feature = None if layer is None else f
                    decision = "stop" if stops else "bet"
                    listed.append((prompt, arm, layer, feature, t, decision, stake))
    columns = ["prompt", "arm", "layer", "feature", "trial", "decision", "stake"]
    frame = dressed(pd.DataFrame(listed, columns=columns)).assign(role="feature")
    frame.loc[frame["arm"] == "baseline", "role"] = "baseline"
    frame["amount"] = frame["stake"].where(frame["decision"] == "bet")
    heard = (frame["decision"] == "bet") & (random.random(len(frame)) < 0.2)
    frame["old_decision"] = frame["decision"].mask(heard, "stop")
    frame["old_amount"] = frame["amount"].mask(heard)
    return frame


@pytest.fixture(scope="module")
def climbed() -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Step]]:
    runs = reconstructed()
    tested = effects(runs)
    known = {"causal": [(3, f) for f in TRUE], "null": [(3, f) for f in range(3, 60)]}
    steps = ladder(runs, tested, fdr=0.05, known=known, delta="it was not run")
    return runs, tested, {step.name: step for step in steps}


def test_the_artefact_counts_until_both_arms_are_patched(climbed: tuple) -> None:
    runs, tested, steps = climbed
    stop = runs.assign(stop=runs["decision"] == "stop").groupby(["arm", "feature", "prompt"])[
        "stop"
    ]
    arms = stop.mean().unstack("arm").drop(index=list(TRUE), level="feature")
    assert np.corrcoef(arms["safe"], arms["risky"])[0, 1] > 0.9
    for name in ("signs", "chi-square", "reader", "exact test", "correction"):
        step = steps[name]
        assert step.count is not None and step.known_null is not None
        assert step.known_null >= 5, name
    primary = steps["safe against risky value"]
    assert (primary.known_causal, primary.known_null) == (3, 0)
    assert primary.lost is not None and primary.lost >= 5
    own = steps["readable arms"]
    assert own.count == len(causal_features(tested)) == 3


def test_each_step_says_what_it_gained_and_lost(climbed: tuple) -> None:
    steps = [s for s in climbed[2].values() if s.count is not None and s.name != "controls"]
    for before, after in zip(steps, steps[1:], strict=False):
        assert after.count == before.count + after.gained - after.lost
    assert [s.step for s in climbed[2].values()] == list(range(1, 11))
    rows = as_rows(list(climbed[2].values()))
    assert json.loads(json.dumps(rows)) == rows


def test_what_the_runs_do_not_hold_is_not_available(climbed: tuple) -> None:
    runs, tested, steps = climbed
    assert steps["delta"].count is None and "it was not run" in steps["delta"].note
    assert steps["controls"].count is None
    states = runs[runs["prompt"] == PROMPTS[0]].assign(scene="exp2/states")
    short = {s.name: s for s in ladder(states, effects(states), fdr=0.05)}
    assert short["signs"].count is None and "no runs of the scene exp2/safe" in short["signs"].note
    assert short["signs"].gained is None and short["safe against risky value"].count is not None
    assert short["safe against risky value"].known_causal is None
    early = {s.name: s.note for s in ladder(runs, tested.assign(test="sequential"), fdr=0.05)}
    assert all("stopped features early" in early[name] for name in ("correction", "reader"))
    assert "early" not in early["signs"] + early["readable arms"]


def test_the_original_rules_are_those_of_a_plain_computation(climbed: tuple) -> None:
    """Feature by feature, with scipy, as the original's scripts did it."""
    runs, _, steps = climbed
    signs, tests = set(), set()
    base = runs[runs["arm"] == "baseline"]
    for feature in range(60):
        mine = runs[runs["feature"] == feature]

        def bets(prompt: str, arm: str, mine: pd.DataFrame = mine) -> np.ndarray:
            rows = base if arm == "baseline" else mine
            chosen = rows[(rows["prompt"] == prompt) & (rows["arm"] == arm)]
            return np.where(chosen["old_decision"] == "stop", 0, chosen["old_amount"])

        def delta(value: str, prompt: str, event) -> float:
            return event(bets(prompt, value)).mean() - event(bets(prompt, "baseline")).mean()

        stop, high = (lambda x: x == 0), (lambda x: x > 15)
        for value, side in (("safe", 1), ("risky", -1)):
            if side * delta(value, "exp2/safe", stop) > 0 > side * delta(value, "exp2/risky", high):
                signs.add(feature)
        for value, prompt, event in (("safe", "exp2/safe", stop), ("risky", "exp2/risky", high)):
            a, b = event(bets(prompt, value)), event(bets(prompt, "baseline"))
            table = [[a.sum(), len(a) - a.sum()], [b.sum(), len(b) - b.sum()]]
            large = min(map(min, table)) >= 5 and abs(a.mean() - b.mean()) > 0.1
            if large and stats.chi2_contingency(table).pvalue < 0.05:
                tests.add(feature)
    assert steps["signs"].count == len(signs) and steps["chi-square"].count == len(tests)


def test_chi_square_is_scipys() -> None:
    random = np.random.default_rng(2)
    n_a, n_b = random.integers(10, 40, 50), random.integers(10, 40, 50)
    a, b = random.integers(1, n_a), random.integers(1, n_b)
    expected = [
        stats.chi2_contingency([[x, m - x], [y, n - y]]).pvalue
        for x, m, y, n in zip(a, n_a, b, n_b, strict=True)
    ]
    np.testing.assert_allclose(chi2_p(a, n_a, b, n_b), expected, rtol=1e-9)
