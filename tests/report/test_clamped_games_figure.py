"""The picture of Exp5 is drawn for any number of features, and says when there is nothing."""

import numpy as np
import pandas as pd

from pitboss.report.canvas import LIMIT
from pitboss.report.clamped_games import SHOWN, clamped_figure


def table(features: int) -> pd.DataFrame:
    random = np.random.default_rng(1)
    rows = []
    for role in ("feature", "random_direction"):
        for feature in range(features):
            for arm in ("safe", "risky"):
                change = random.normal(0, 0.1)
                rows.append(
                    {
                        "role": role,
                        "layer": feature % 4,
                        "feature": feature,
                        "arm": arm,
                        "difference_bankruptcy": change,
                        "ci_low_bankruptcy": change - 0.1,
                        "ci_high_bankruptcy": change + 0.1,
                        "p_bankruptcy": random.random(),
                    }
                )
    return pd.DataFrame(rows)


def test_it_is_a_picture_that_fits_and_differs_with_its_features() -> None:
    few, many = (clamped_figure(table(n)) for n in (3, 2 * SHOWN))
    for png in (few, many):
        assert png.startswith(b"\x89PNG") and len(png) <= LIMIT
    assert few != many


def test_without_a_comparison_it_says_so() -> None:
    unknown = table(2).assign(difference_bankruptcy=np.nan)
    assert clamped_figure(unknown) == clamped_figure(table(2).head(0))
