"""The picture of the pathway: what is decoded, what the lens reads, what features contribute."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pitboss.report.canvas import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    RISKY,
    SAFE,
    canvas,
    empty,
    picture,
    title,
)

_INPUTS = {
    "sae": ("SAE activations", BLUE),
    "residual": ("residual stream", ORANGE),
    "baseline": ("balance and round", GREY),
}


def reading_figure(
    decodability: pd.DataFrame, lens: pd.DataFrame, attribution: pd.DataFrame | None = None
) -> bytes:
    """Decodability and lens by layer; attributed against exact changes, where there are any.

    Args:
        decodability: Rows of the kind `decodability`; the stricter grouping is drawn.
        lens: Rows of the kind `lens`.
        attribution: Rows of the kind `attribution`, or None.
    """
    figure, axes = canvas(10.5, 3.8, 1, 3)
    _decodability(axes[0], decodability)
    _lens(axes[1], lens)
    _attribution(axes[2], attribution)
    return picture(figure)


def _decodability(axis: Axes, rows: pd.DataFrame) -> None:
    strict = rows[(rows["grouping"] == "state") & rows["auc"].notna()]
    for inputs, (label, colour) in _INPUTS.items():
        mine = strict[strict["inputs"] == inputs].sort_values("layer")
        if mine.empty:
            continue
        style = {"linestyle": "--"} if inputs == "baseline" else {"marker": "o", "markersize": 3.5}
        axis.plot(mine["layer"], mine["auc"], color=colour, label=label, **style)
        axis.fill_between(
            mine["layer"], mine["low"], mine["high"], color=colour, alpha=0.15, linewidth=0
        )
    if strict.empty:
        empty(axis, "too few decisions")
    else:
        axis.axhline(0.5, color=GREY, linewidth=0.8)
        axis.legend(frameon=False, fontsize=8)
        axis.set_ylim(top=1.0)
        _layers(axis, strict["layer"])
    axis.set_ylabel("AUC, stop against bet")
    title(axis, "Can the decision be decoded?", "games and prompts held out · bands: 95 %")


def _lens(axis: Axes, rows: pd.DataFrame) -> None:
    for decision, colour in (("stop", SAFE), ("bet", RISKY)):
        mine = rows[rows["decision"] == decision].sort_values("layer")
        if mine.empty:
            continue
        label = f"then {decision} ({int(mine['n'].max())})"
        axis.plot(
            mine["layer"], mine["margin"], color=colour, marker="o", markersize=3.5, label=label
        )
        axis.fill_between(
            mine["layer"], mine["margin_low"].astype(float), mine["margin_high"].astype(float),
            color=colour, alpha=0.15, linewidth=0,
        )  # fmt: skip
    if rows.empty:
        empty(axis, "nothing to show")
    else:
        axis.legend(frameon=False, fontsize=8)
        _layers(axis, rows["layer"])
    axis.set_ylabel("log odds of stop against bet")
    title(axis, "What would each layer answer?", "logit lens · bands: 95 %")


def _attribution(axis: Axes, rows: pd.DataFrame | None) -> None:
    if rows is None or rows.empty:
        empty(axis, "no scenes")
    else:
        reach = 1.05 * float(np.abs(rows[["attribution", "patched"]].to_numpy()).max() or 1.0)
        axis.plot([-reach, reach], [-reach, reach], color=GREY, linewidth=0.8)
        shade = axis.scatter(
            rows["attribution"], rows["patched"], c=rows["layer"], cmap="viridis", s=9,
            edgecolors="none",
        )  # fmt: skip
        axis.figure.colorbar(shade, ax=axis, label="layer", shrink=0.8)
        axis.set_xlabel("attribution (first order)", color=INK)
    axis.set_ylabel("change when set to 0 (exact)")
    title(axis, "Which features carry it?", "one dot a feature · log odds of stop")


def _layers(axis: Axes, layers: pd.Series) -> None:
    axis.set_xlabel("layer")
    values = sorted(set(layers.astype(int)))
    axis.set_xticks(values if len(values) <= 8 else values[:: -(-len(values) // 8)])
