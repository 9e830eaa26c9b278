"""The pathway's second picture is drawn from whatever a study leaves."""

import pandas as pd
import pytest

from pitboss.report.canvas import LIMIT
from pitboss.report.pathway import reading_figure
from pitboss.store.schemas import kind_of


def tables(layers: int) -> list[pd.DataFrame]:
    decoded = [
        {"layer": n, "grouping": g, "inputs": i, "auc": 0.6, "low": 0.5, "high": 0.7}
        for n in range(layers)
        for g in ("game", "state")
        for i in ("baseline", "sae", "residual")
    ]
    lens = [
        {"layer": n, "decision": d, "n": 9, "margin": n, "margin_low": None, "margin_high": None}
        for n in range(layers)
        for d in ("stop", "bet")
    ]
    features = [
        {"layer": n, "feature": f, "attribution": f / 9, "patched": n / 9}
        for n in range(layers)
        for f in range(60)
    ]
    made = zip(("decodability", "lens", "attribution"), (decoded, lens, features), strict=True)
    return [
        pd.DataFrame(rows, columns=[column.name for column in kind_of(kind).columns])
        for kind, rows in made
    ]


@pytest.mark.parametrize("layers", [0, 1, 31])
def test_any_number_of_layers_fits_an_artifact(layers: int) -> None:
    decoded, lens, features = tables(layers)
    for some in (features, None):
        png = reading_figure(decoded, lens, some)
        assert png.startswith(b"\x89PNG") and 2_000 < len(png) <= LIMIT
