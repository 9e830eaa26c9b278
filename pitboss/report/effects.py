"""The pictures of what patches change: shifts of all screened features, effects of patched ones."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pitboss.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALE,
    canvas,
    empty,
    layer_ticks,
    picture,
    title,
)
from pitboss.report.tables import primary

Names = Collection[tuple[int, int]]

_DOTS = 3000  # features drawn one by one; the others of a layer are a bar


def screening_figure(
    ranking: pd.DataFrame,
    by: str,
    planted: Names = (),
    null: Names = (),
    contrasted: tuple[str, str] | None = ("safe", "risky"),
) -> bytes:
    """How far each feature moves the log odds of stopping, by layer and by rank.

    Args:
        ranking: Rows of the kind `ranking`, in their order.
        by: The column it is ranked by, contrast or shift.
        planted: (layer, feature) known to be causal, ringed.
        null: (layer, feature) known to do nothing, crossed.
        contrasted: The two values of the contrast; None where there is none.
    """
    figure, axes = canvas(9.0, 4.2, 1, 2)
    moved = ranking[~ranking["unchanged"]]
    if moved.empty:
        for axis in axes:
            empty(axis, "no feature changes anything")
        return picture(figure)
    first = moved.head(_DOTS)
    for layer, rows in moved.groupby("layer") if len(first) < len(moved) else ():
        low, high = np.percentile(rows[by], [1, 99])
        axes[0].vlines(layer, low, high, color=PALE, linewidth=4)
    random = np.random.default_rng(0)  # spreads dots of one layer; fixed, so bytes are the same
    x = first["layer"].to_numpy() + random.uniform(-0.3, 0.3, len(first))
    size = first[by].abs().to_numpy()
    rank = first["rank"].to_numpy()
    for axis, across, up in ((axes[0], x, first[by].to_numpy()), (axes[1], rank, size)):
        axis.scatter(across, up, s=8, color=ORANGE, alpha=0.6, linewidths=0)
        _mark(axis, first, across, up, planted, "o", GREEN, "planted causal")
        _mark(axis, first, across, up, null, "x", BLUE, "planted null")
    named = "patched − unpatched"
    if by == "contrast" and contrasted is not None:
        named = " − ".join(f"{name} value" for name in contrasted)
    axes[0].axhline(0, color=GREY, linewidth=0.8)
    layer_ticks(axes[0], moved["layer"].to_numpy())
    axes[0].set_xlabel("layer")
    axes[0].set_ylabel("Δ log odds of stopping")
    below = f"{named}, largest over prompts"
    below += " · bars: 98 %" if len(first) < len(moved) else ""
    title(axes[0], f"{len(moved):,} of {len(ranking):,} features change the odds", below)
    axes[1].set_xscale("log")
    axes[1].set_xlabel("rank")
    axes[1].set_ylabel("|Δ log odds of stopping|")
    title(axes[1], "Ranked", f"computed, not sampled · the first {len(first):,}")
    handles, labels = axes[1].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8.5
        )
    return picture(figure)


def effects_figure(effects: pd.DataFrame, planted: Names = (), null: Names = ()) -> bytes:
    """Effect of safe value against risky value on stopping, by layer and by strength of evidence.

    Args:
        effects: Rows of the kind `effects`.
        planted: (layer, feature) known to be causal, ringed.
        null: (layer, feature) known to do nothing, crossed.
    """
    figure, axes = canvas(9.0, 4.2, 1, 2)
    effects = primary(effects, role="feature")
    rows, total = effects[effects["status"] == "tested"], len(effects)
    if rows.empty:
        for axis in axes:
            empty(axis, "no feature is testable")
        return picture(figure)
    hit = rows["causal"].to_numpy() & rows["significant"].to_numpy()
    random = np.random.default_rng(0)  # spreads dots of one layer; fixed, so bytes are the same
    x = rows["layer"].to_numpy() + random.uniform(-0.3, 0.3, len(rows))
    y = rows["difference"].to_numpy() * 100
    evidence = -np.log10(rows["p"].to_numpy())
    jitter = random.uniform(-0.8, 0.8, len(rows))
    for axis, across, up in ((axes[0], x, y), (axes[1], y + jitter, evidence)):
        axis.scatter(across[~hit], up[~hit], s=8, color=GREY, alpha=0.35, linewidths=0)
        axis.scatter(across[hit], up[hit], s=14, color=ORANGE, linewidths=0, label="causal")
        _mark(axis, rows, across, up, planted, "o", GREEN, "planted causal")
        _mark(axis, rows, across, up, null, "x", BLUE, "planted null")
    axes[0].axhline(0, color=GREY, linewidth=0.8)
    layer_ticks(axes[0], rows["layer"].to_numpy())
    axes[0].set_xlabel("layer")
    axes[0].set_ylabel("Δ stop rate, points")
    count = effects.loc[effects["causal"], ["layer", "feature"]].drop_duplicates().shape[0]
    features = effects[["layer", "feature"]].drop_duplicates().shape[0]
    title(
        axes[0],
        f"{count:,} of {features:,} features causal",
        "safe value minus risky value, each dot a feature and prompt",
    )
    axes[1].set_xlabel("Δ stop rate, points")
    axes[1].set_ylabel(f"−log10 p ({_test_of(rows)})")
    title(axes[1], "Strength of evidence", f"{len(rows):,} of {total:,} contrasts testable")
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    return picture(figure)


def _test_of(rows: pd.DataFrame) -> str:
    """What the p are of. Where scenes have several states, the exact test is one within states."""
    used = set(rows["test"])
    for test, name in (
        ("sequential", "sequential test"),
        ("paired", "exact test of pairs"),
        ("stratified", "exact test within states"),
    ):
        if test in used:
            return name
    return "Fisher's exact test"


def _mark(
    axis: Axes, rows: pd.DataFrame, x: np.ndarray, y: np.ndarray, names: Names, marker: str,
    colour: str, label: str,
) -> None:  # fmt: skip
    if not names:
        return
    wanted = pd.MultiIndex.from_tuples(sorted(names))
    here = pd.MultiIndex.from_frame(rows[["layer", "feature"]]).isin(wanted)
    if marker == "o":
        axis.scatter(
            x[here], y[here], s=46, facecolors="none", edgecolors=colour, linewidths=1.3,
            label=label,
        )  # fmt: skip
    else:
        axis.scatter(
            x[here], y[here], s=40, marker=marker, color=colour, linewidths=1.3, label=label
        )
