"""Every test at once: strength of evidence against size, and size by layer."""

from typing import Any

import numpy as np
import pandas as pd

from pitboss.analysis.effects import counted
from pitboss.report.page.book import Book, Section
from pitboss.report.page.data import FEATURE, plain
from pitboss.report.page.numbers import shown
from pitboss.report.tables import primary

COLUMNS = [
    "role", "phase", *FEATURE, "prompt", "contrast", "outcome", "status", "reason", "difference",
    "p", "p_worst", "unreadable_arm", "significant", "causal",
]  # fmt: skip
NAMED = 6
"""Features that a dot names; the others it counts."""
DOTS = 1500
"""Causal features drawn one by one by layer, the strongest first."""


def build(book: Book) -> Section | None:
    effects = book.frame("effects", COLUMNS)
    findings = book.frame("findings")
    if effects is None or findings is None:
        return None
    rows = primary(effects)
    rows = rows.assign(hit=counted(rows))
    tested = rows[(rows["status"] == "tested") & rows["difference"].notna()]
    if tested.empty:
        return None
    features = tested[tested["role"] == "feature"]
    roles = sorted(set(tested["role"]))
    data = {
        "volcano": {"dots": volcano(tested), "prompts": sorted(set(tested["prompt"]))},
        "layers": {"bars": layers(features), "dots": dots(features)},
    }
    untested = int(((rows["role"] == "feature") & (rows["status"] != "tested")).sum())
    context = {
        "tests": shown(len(features)),
        "untested": shown(untested),
        "controls": len(roles) > 1,
        "capped": len(features[features["hit"]]) > DOTS,
        "dots": shown(DOTS),
    }
    return Section("effects", context, data)


def volcano(tested: pd.DataFrame) -> list[dict[str, Any]]:
    """One dot for all tests with the same role, prompt, difference and p: their number, some names.

    With 20 runs an arm there are a few hundred different outcomes at most, so this loses nothing.
    """
    frame = tested.assign(
        x=(tested["difference"] * 100).round(2),
        y=-np.log10(tested["p"].clip(lower=1e-300)).round(3) + 0.0,
        name="L" + tested["layer"].astype(str) + "/F" + tested["feature"].astype(str),
    )
    made = []
    for (role, prompt, x, y, hit), group in frame.groupby(
        ["role", "prompt", "x", "y", "hit"], sort=True
    ):
        made.append({"r": role, "p": prompt, "x": plain(x), "y": plain(y), "h": bool(hit),
                     "n": len(group), "f": group["name"].tolist()[:NAMED]})  # fmt: skip
    return made


def layers(features: pd.DataFrame) -> list[dict[str, Any]]:
    """The spread of all tested features' effects, layer by layer, in percentage points."""
    made = []
    for (prompt, layer), group in features.groupby(["prompt", "layer"]):
        ends = np.percentile(group["difference"] * 100, [1, 25, 50, 75, 99])
        made.append({"p": prompt, "l": int(layer), "n": len(group),
                     "q": [plain(float(end)) for end in ends]})  # fmt: skip
    return made


def dots(features: pd.DataFrame) -> list[dict[str, Any]]:
    """Significant effects of causal features, one by one."""
    found = features[features["hit"]]
    found = found.assign(size=found["difference"].abs())
    found = found.sort_values(["size", *FEATURE, "prompt"], ascending=[False, True, True, True])
    return [
        {
            "p": row.prompt,
            "l": int(row.layer),
            "f": int(row.feature),
            "x": plain(100 * row.difference),
        }
        for row in found.head(DOTS).itertuples()
    ]
