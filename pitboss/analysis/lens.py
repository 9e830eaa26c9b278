"""How far each layer leans to stopping: mean margins by the decision that followed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def lens(
    margins: Floats, decisions: pd.DataFrame, *, model: str, layers: Sequence[int]
) -> pd.DataFrame:
    """Mean margin by layer and decision, with intervals that allow for decisions of one game.

    Args:
        margins: [n, layers] log odds of stopping against betting.
        decisions: Columns decision (stop | bet) and game, one row each.
        model: Model id.
        layers: Layer of each column.

    Returns:
        Rows of the store's kind `lens`.
    """
    rows = []
    for decision in ("bet", "stop"):
        mine = (decisions["decision"] == decision).to_numpy()
        if not mine.any():
            continue
        games = pd.factorize(decisions["game"][mine])[0]
        for column, layer in enumerate(layers):
            mean, low, high = _interval(margins[mine, column], games)
            rows.append(
                {
                    "model": model,
                    "layer": layer,
                    "decision": decision,
                    "n": int(mine.sum()),
                    "margin": mean,
                    "margin_low": low,
                    "margin_high": high,
                }
            )
    return pd.DataFrame(rows)


def _interval(values: Floats, games: NDArray[np.int64]) -> tuple[float, float, float]:
    """Mean and its 95 % interval from the sums of each game's deviations; NaN for one game."""
    mean, number = float(values.mean()), int(games.max()) + 1
    if number < 2:
        return mean, np.nan, np.nan
    sums = np.bincount(games, values - mean)
    error = np.sqrt(number / (number - 1) * (sums**2).sum()) / len(values)
    reach = float(stats.t.ppf(0.975, number - 1) * error)
    return mean, mean - reach, mean + reach
