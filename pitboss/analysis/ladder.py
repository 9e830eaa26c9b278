"""From the original study's "causal" to this one's, one correction a step, on the same runs.

The rules of the first two steps are those of the public code of arXiv 2509.22818 at 1073a1a:
`analysis/exp2_causal_feature_group_analysis.py` (441 features by the signs of mean differences) and
`causal_feature_discovery/src/experiment_2_final_correct.py` (a chi-square test against the
baseline). Each later step changes one thing and keeps the rest. What a step needs and the runs do
not hold makes it "not available", with the reason; no number is put in its place.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from pitboss.analysis.effects import PRIMARY, causal_features, counted
from pitboss.analysis.ladder_rules import (
    Names,
    Unavailable,
    against_baseline,
    fisher,
    gated_chi2,
    names_of,
    primary,
    signs,
)

_FIXED = ("chi-square", "reader", "exact test", "correction", "safe against risky value")
_EARLY = "A test for fixed numbers of runs, but this study stopped features early."


@dataclass(frozen=True)
class Step:
    """One rung; `count` is None where it is not available, and `note` then says why.

    Attributes:
        step: Its number, from 1.
        name: Short name.
        rule: What counts as causal, in a sentence.
        count, of: Features that count, of all patched ones.
        gained, lost: Against the last step that was available.
        known_causal, known_null: Of the planted features, how many count; None without any.
    """

    step: int
    name: str
    rule: str
    count: int | None
    of: int
    gained: int | None
    lost: int | None
    note: str
    known_causal: int | None = None
    known_null: int | None = None


def ladder(
    trials: pd.DataFrame,
    tested: pd.DataFrame,
    *,
    fdr: float,
    known: Mapping[str, Iterable[tuple[int, int]]] | None = None,
    delta: pd.DataFrame | str = "no other study is at hand",
) -> list[Step]:
    """The rungs, from the original's rule to the study's own.

    Args:
        trials: Runs of patched features and the baseline: role, phase, scene, prompt, arm, layer,
            feature, decision, amount, and old_decision, old_amount (of the original's reader).
        tested: Their effects, by `analysis.effects`.
        fdr: The study's false discovery rate.
        known: Planted features by role, causal and null.
        delta: Effects of a study that patches the same features with deltas, or why there is none.
    """
    runs = trials[trials["role"].isin(["feature", "baseline"]) & (trials["phase"] == "discovery")]
    every = names_of(runs[runs["role"] == "feature"])
    rungs: list[tuple[str, str, str, Callable[[], Names]]] = [
        (
            "signs",
            "The safe value raises stops in the safe scene and lowers bets above $15 in the risky "
            "one, or the risky value does the opposite, by any amount; keyword reader.",
            "The rule behind the original's 441 features: no test.",
            lambda: signs(runs),
        ),
        (
            "chi-square",
            "Chi-square p < .05 and a difference above .1 against the baseline (safe value: stops "
            "in the safe scene; risky value: bets above $15 in the risky one), only where all four "
            "cells hold 5; keyword reader.",
            "The original's written rule, without a correction for the number of features.",
            lambda: against_baseline(runs, "old_", gated_chi2, None),
        ),
        (
            "reader",
            "The same, with responses read by this study's reader; runs without a decision, and "
            "bets without a stake, are left out.",
            "",
            lambda: against_baseline(runs, "", gated_chi2, None),
        ),
        (
            "exact test",
            "The same, with Fisher's exact test and no condition on the cells.",
            "",
            lambda: against_baseline(runs, "", fisher, None),
        ),
        (
            "correction",
            f"The same, with q <= {fdr:g} over all features and both tests in place of p < .05.",
            "",
            lambda: against_baseline(runs, "", fisher, fdr),
        ),
        (
            "safe against risky value",
            "Stops under the safe value differ from those under the risky value, "
            f"q <= {fdr:g} over all features and scenes. Both arms are patched: what patching does "
            "as such is gone.",
            "",
            lambda: primary(runs, fdr),
        ),
        (
            "one family",
            "The same, corrected together with the tests of the other outcomes.",
            "",
            lambda: _significant(tested),
        ),
        (
            "readable arms",
            "The same; where one arm has fewer readable runs, the effect has to stand with every "
            "undecided run decided against it.",
            "This is the study's own rule.",
            lambda: frozenset(causal_features(tested)),
        ),
        (
            "delta",
            "The study's own rule where only the feature's own share of the state is changed and "
            "the part that the SAE cannot express is kept.",
            "",
            lambda: _delta(delta, every),
        ),
    ]
    stopped_early = bool((tested["test"] == "sequential").any())
    found: list[Step] = []
    before: Names | None = None
    for number, (name, rule, note, compute) in enumerate(rungs, start=1):
        try:
            now = compute()
        except Unavailable as missing:
            why = f"Not available: {missing}."
            found.append(Step(number, name, rule, None, len(every), None, None, why))
            continue
        if stopped_early and name in _FIXED:
            note = f"{note} {_EARLY}".strip()
        gained, lost = (None, None) if before is None else (len(now - before), len(before - now))
        planted = [
            len(now & frozenset(known[role])) if known and known.get(role) else None
            for role in ("causal", "null")
        ]
        found.append(Step(number, name, rule, len(now), len(every), gained, lost, note, *planted))
        before = now
    return [*found, _controls(tested, len(found) + 1)]


def _significant(tested: pd.DataFrame) -> Names:
    rows = tested[
        (tested["role"] == "feature")
        & (tested["contrast"] == PRIMARY)
        & (tested["outcome"] == "stop")
        & tested["significant"]
    ]
    return names_of(rows)


def _delta(delta: pd.DataFrame | str, every: Names) -> Names:
    if isinstance(delta, str):
        raise Unavailable(delta)
    return frozenset(causal_features(delta)) & every


def _controls(tested: pd.DataFrame, number: int) -> Step:
    controls = tested[
        tested["role"].isin(["random_feature", "random_direction"])
        & (tested["contrast"] == PRIMARY)
        & (tested["outcome"] == "stop")
    ]
    rule = "Random features and directions under the study's own rule: what chance is found."
    if controls.empty:
        why = "Not available: the study has no random features or directions."
        return Step(number, "controls", rule, None, 0, None, None, why)
    hits = controls[counted(tested).loc[controls.index]]
    name = ["role", "layer", "feature"]
    of, count = (len(rows[name].drop_duplicates()) for rows in (controls, hits))
    note = f"{count} of {of} controls, that is {count / of:.1%}."
    return Step(number, "controls", rule, count, of, None, None, note)


def as_rows(steps: list[Step]) -> list[dict[str, Any]]:
    """Plain data for ladder.json."""
    return [asdict(step) for step in steps]
