"""Whether the first-order attribution of a decision to features agrees with patching them."""

import numpy as np
import pandas as pd


def agreement(attribution: pd.DataFrame) -> pd.DataFrame:
    """How attribution and the exact change agree in each layer.

    Args:
        attribution: Rows of the store's kind `attribution`.

    Returns:
        Columns layer, features, correlation (Pearson's; NaN for fewer than three features or where
        one of the two does not vary) and leading (the feature with the largest |patched|).
    """
    rows = []
    for layer, mine in attribution.groupby("layer"):
        varies = mine[["attribution", "patched"]].std() > 0
        enough = len(mine) > 2 and bool(varies.all())
        leading = mine.loc[mine["patched"].abs().idxmax(), "feature"]
        rows.append(
            {
                "layer": layer,
                "features": len(mine),
                "correlation": mine["attribution"].corr(mine["patched"]) if enough else np.nan,
                "leading": int(leading),
            }
        )
    return pd.DataFrame(rows)
