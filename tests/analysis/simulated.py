"""Trials with known stop rates, for the tests of everything that reads trials."""

import numpy as np
import pandas as pd

PROMPTS = ("exp2/safe", "exp2/risky")


def decisions(random: np.random.Generator, n: int, stop: float, none: float = 0.0) -> list[str]:
    drawn = np.where(random.random(n) < stop, "stop", "bet")
    return list(np.where(random.random(n) < none, "none", drawn))


def rows(
    prompt: str, arm: str, feature: int | None, drawn: list[str], layer: int = 3
) -> pd.DataFrame:
    columns = ["model", "prompt", "arm", "layer", "feature", "decision"]
    place = None if feature is None else layer
    return pd.DataFrame([("m", prompt, arm, place, feature, d) for d in drawn], columns=columns)


def trials(
    rates: dict[int, tuple[float, float]],
    *,
    seed: int = 0,
    n: int = 20,
    baseline: float = 0.5,
    none: dict[tuple[int, str], float] | None = None,
) -> pd.DataFrame:
    """feature -> (stop rate at the safe value, at the risky value), in both prompts."""
    random, silent = np.random.default_rng(seed), none or {}
    listed: list[tuple] = []
    for prompt in PROMPTS:
        listed += [("m", prompt, "baseline", None, None, d) for d in decisions(random, n, baseline)]
        for feature, pair in rates.items():
            for arm, stop in zip(("safe", "risky"), pair, strict=True):
                drawn = decisions(random, n, stop, silent.get((feature, arm), 0.0))
                listed += [("m", prompt, arm, 3, feature, d) for d in drawn]
    columns = ["model", "prompt", "arm", "layer", "feature", "decision"]
    return pd.DataFrame(listed, columns=columns)
