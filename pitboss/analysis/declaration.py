"""What a study declares before its first run: tests, thresholds, and which effects it can find."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pitboss.analysis.exact_power import Test
from pitboss.analysis.power import (
    detectable,
    detectable_sequentially,
    e_threshold,
    threshold,
    trials_needed,
)
from pitboss.analysis.sequential import Rule
from pitboss.analysis.simulation import sequential_power

BASELINES = (0.05, 0.25, 0.5)
"""Above one half raises and falls change places."""


def declaration(
    *,
    tests: int,
    trials: int,
    states: int = 1,
    fdr: float = 0.05,
    share: float = 0.01,
    wanted_power: float = 0.8,
    wanted_effect: float = 0.3,
    test: Test = "fisher",
    rule: Rule | None = None,
    baselines: Sequence[float] = BASELINES,
) -> dict[str, Any]:
    """What a study can find, in numbers and in sentences.

    Args:
        tests: Size of the family over which the correction runs.
        trials: Runs in each arm and state.
        states: Prompts that one test takes together (1 for a fixed scene).
        fdr: False discovery rate.
        share: Assumed share of tests with an effect; it fixes the expected threshold.
        wanted_power: Chance with which an effect is to be found.
        wanted_effect: Difference of stop rates for which the needed trials are given.
        test: The fixed design's test.
        rule: The sequential rule, if the study has one; then its last analysis sets the trials.
        baselines: Stop rates of the arm compared with.

    Returns:
        Plain data for a JSON file: the arguments, `p_threshold`, `p_strictest`, `table` (one row a
        baseline; None where no effect suffices) and `sentences`. `coupled` values count on shared
        noise that couples the arms fully, the others on none of it.
    """
    alpha = threshold(tests, share, fdr, wanted_power)
    runs = (rule.trials if rule else trials) * states
    rows = [
        {
            "baseline": baseline,
            **{
                f"{name}{suffix}": number
                for coupling, suffix in ((0.0, ""), (1.0, "_coupled"))
                for name, number in (
                    _sequential(
                        baseline, rule, states, share, wanted_effect, wanted_power, coupling
                    )
                    if rule
                    else _fixed(baseline, runs, alpha, wanted_effect, wanted_power, test, coupling)
                ).items()
            },
        }
        for baseline in baselines
    ]
    numbers: dict[str, Any] = {
        "tests": tests,
        "runs_per_arm": runs,
        "states": states,
        "fdr": fdr,
        "assumed_share": share,
        "power": wanted_power,
        "wanted_effect": wanted_effect,
        "test": "sequential" if rule else test,
        "p_threshold": alpha,
        "p_strictest": fdr / tests,
        "e_threshold": e_threshold(rule, share, wanted_power) if rule else None,
        "rule": asdict(rule) | {"effect_bound": rule.effect_bound} if rule else None,
        "table": rows,
    }
    return numbers | {"sentences": sentences(numbers)}


def _fixed(
    baseline: float,
    runs: int,
    alpha: float,
    effect: float,
    wanted: float,
    test: Test,
    coupling: float,
) -> dict[str, float | None]:
    found = detectable(baseline, runs, alpha, wanted_power=wanted, test=test, coupling=coupling)
    needed = (
        trials_needed(baseline, e, alpha, wanted_power=wanted, test=test, coupling=coupling)
        for e in (effect, -effect)
    )
    names = ("smallest_raise", "smallest_fall", "runs_for_raise", "runs_for_fall")
    return dict(zip(names, (found.up, found.down, *needed), strict=True))


def _sequential(
    baseline: float,
    rule: Rule,
    states: int,
    share: float,
    effect: float,
    wanted: float,
    coupling: float,
) -> dict[str, float | None]:
    found = detectable_sequentially(
        baseline, rule, states=states, share=share, wanted_power=wanted, coupling=coupling
    )
    bound = e_threshold(rule, share, wanted)
    used = (
        sequential_power(
            baseline + e, baseline, rule, bound=bound, states=states, coupling=coupling
        ).pairs
        if 0 <= baseline + e <= 1
        else None
        for e in (effect, -effect, 0.0)
    )
    names = (
        "smallest_raise", "smallest_fall", "runs_for_raise", "runs_for_fall", "runs_for_nothing",
    )  # fmt: skip
    return dict(zip(names, (found.up, found.down, *used), strict=True))


def sentences(numbers: dict[str, Any]) -> list[str]:
    """The same as `declaration`'s numbers, for a person."""
    n, states, rule = numbers["runs_per_arm"], numbers["states"], numbers["rule"]
    said = [
        f"{numbers['tests']:,} tests are corrected together at a false discovery rate of "
        f"{_percent(numbers['fdr'])}.",
        f"If {_percent(numbers['assumed_share'])} of them have an effect, a test counts from "
        + (
            f"e = {numbers['e_threshold']:.3g} on; with a single effect from "
            f"{rule['effect_bound']:.3g} on."
            if rule
            else f"p = {numbers['p_threshold']:.2g} on; with a single effect from "
            f"{numbers['p_strictest']:.2g} on."
        ),
    ]
    over = f" over {states} states" if states > 1 else ""
    if rule:
        looks = ", ".join(map(str, rule["looks"]))
        said.append(
            f"The sequential rule looks after {looks} trials per state and arm, at most {n} runs "
            f"an arm{over}. A feature with e >= {rule['effect_bound']:.3g} is found whatever the "
            f"others show; one without evidence stops early, which adds no false discovery."
        )
        if rule["smallest_effect"] is not None:
            said.append(
                f"A feature with an average difference of {_points(rule['smallest_effect'])} or "
                f"more is given up for showing less with a chance of at most "
                f"{_percent(rule['miss'])}."
            )
    else:
        said.append(f"Each arm has {n} runs{over}.")
    for row in numbers["table"]:
        said.append(_row(row, numbers))
    said.append(
        "The first number counts on no help from the noise that the arms share, the one in "
        "brackets on noise that couples them fully; real runs lie between."
    )
    return said


def _row(row: dict[str, Any], numbers: dict[str, Any]) -> str:
    def of(name: str, words: str, unit: str) -> str:
        scale = 100 if unit == "points" else 1
        values = [row[name], row[f"{name}_coupled"]]
        if values == [None, None]:
            return f"no {words.removeprefix('the smallest ')}" if unit == "points" else ""
        plain, coupled = ("none" if v is None else f"{scale * v:.3g}" for v in values)
        return f"{words} {plain} ({coupled}) {unit}"

    chance = _percent(numbers["power"])
    wanted = _points(numbers["wanted_effect"])
    text = (
        f"At a stop rate of {_percent(row['baseline'])}, found with a chance of {chance}: "
        f"{of('smallest_raise', 'the smallest raise', 'points')}, "
        f"{of('smallest_fall', 'the smallest fall', 'points')}. "
    )
    parts = [
        of("runs_for_raise", f"a raise of {wanted}", "runs an arm"),
        of("runs_for_fall", f"a fall of {wanted}", "runs an arm"),
    ]
    if numbers["rule"] is not None:
        parts.append(of("runs_for_nothing", "no effect", "runs an arm"))
    listed = ", ".join(part for part in parts if part)
    needed = "What is needed" if numbers["rule"] is None else "What is used on average"
    return f"{text}{needed}: {listed}." if listed else text.strip()


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _points(difference: float) -> str:
    return f"{100 * difference:g} points"
