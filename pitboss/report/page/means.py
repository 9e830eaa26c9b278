"""Means of groups of games with their t intervals."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.95


def t_intervals(
    games: pd.DataFrame, by: list[str], highest: Mapping[str, float | None]
) -> pd.DataFrame:
    """Mean, interval and number of games of some columns.

    Args:
        games: One row a game; NaN where it has no value.
        by: What a row of the result is.
        highest: The columns, none of which can be below 0, and the most that each can be.

    Returns:
        Indexed by `by`: <column>, <column>_low, <column>_high (NaN for fewer than 2 games), each
        inside what is possible, and <column>_n.
    """
    grouped = games.groupby(by)
    made = pd.DataFrame(index=grouped.size().index)
    for name, most in highest.items():
        mean, sd, n = (getattr(grouped[name], how)() for how in ("mean", "std", "count"))
        half = stats.t.ppf((1 + LEVEL) / 2, (n - 1).clip(lower=1)) * sd / np.sqrt(n.clip(lower=1))
        made[name], made[f"{name}_n"] = mean, n
        made[f"{name}_low"] = (mean - half).clip(lower=0)
        made[f"{name}_high"] = (mean + half).clip(upper=most)
    return made
