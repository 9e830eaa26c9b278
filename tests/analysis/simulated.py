"""Trials with known stop rates, for the tests of everything that reads trials."""

import numpy as np
import pandas as pd

PROMPTS = ("exp2/safe", "exp2/risky")


def decisions(random: np.random.Generator, n: int, stop: float, none: float = 0.0) -> list[str]:
    drawn = np.where(random.random(n) < stop, "stop", "bet")
    return list(np.where(random.random(n) < none, "none", drawn))


COLUMNS = ["prompt", "arm", "layer", "feature", "trial", "decision"]


def dressed(frame: pd.DataFrame, role: str = "feature") -> pd.DataFrame:
    """The columns that every stored run has, for one prompt a scene and $10 bets out of $100."""
    roles = np.where(frame["arm"] == "baseline", "baseline", role)
    return frame.assign(
        model="m",
        role=roles,
        phase="discovery",
        scene=frame["prompt"],
        amount=np.where(frame["decision"] == "bet", 10.0, np.nan),
        balance=100,
    )


def rows(
    prompt: str, arm: str, feature: int | None, drawn: list[str], layer: int = 3
) -> pd.DataFrame:
    place = None if feature is None else layer
    listed = [(prompt, arm, place, feature, t, d) for t, d in enumerate(drawn)]
    return dressed(pd.DataFrame(listed, columns=COLUMNS))


def trials(
    rates: dict[int, tuple[float, float]],
    *,
    seed: int = 0,
    n: int = 20,
    baseline: float = 0.5,
    none: dict[tuple[int, str], float] | None = None,
    role: str = "feature",
) -> pd.DataFrame:
    """feature -> (stop rate at the safe value, at the risky value), in both prompts."""
    random, silent = np.random.default_rng(seed), none or {}
    listed: list[tuple] = []
    for prompt in PROMPTS:
        drawn = decisions(random, n, baseline)
        listed += [(prompt, "baseline", None, None, t, d) for t, d in enumerate(drawn)]
        for feature, pair in rates.items():
            for arm, stop in zip(("safe", "risky"), pair, strict=True):
                drawn = decisions(random, n, stop, silent.get((feature, arm), 0.0))
                listed += [(prompt, arm, 3, feature, t, d) for t, d in enumerate(drawn)]
    return dressed(pd.DataFrame(listed, columns=COLUMNS), role)
