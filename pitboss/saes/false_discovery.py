"""The correction for many tests. It needs no tensor library, so neither do the analyses."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """q values over all p that are not NaN; NaN stays NaN and is not counted."""
    q = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested], method="bh")
    return q
