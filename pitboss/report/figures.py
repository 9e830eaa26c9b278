"""The pictures of games, of how their decisions form and differ, and of words.

Each function takes a table of the analysis and returns PNG bytes.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pitboss.analysis.games import OUTCOMES
from pitboss.games.conditions import COMPONENTS
from pitboss.report.canvas import (
    GREY,
    INK,
    OUTCOME_COLOURS,
    PALE,
    RISKY,
    SAFE,
    canvas,
    empty,
    layer_ticks,
    picture,
    title,
)


def outcomes_figure(outcomes: pd.DataFrame) -> bytes:
    """How the games of every condition ended: one bar a condition, fixed and variable bets apart.

    Args:
        outcomes: Result of `condition_outcomes`, of one or several models (summed over them when
            several; call once for each model to see them apart).
    """
    counts = outcomes.groupby(["bet_type", "components"])[list(OUTCOMES)].sum()
    names = sorted(set(outcomes["components"]), key=_component_order)
    kinds = sorted(set(outcomes["bet_type"]))
    models = ", ".join(sorted(outcomes["model"].unique()))
    height = 1.6 + 0.15 * len(names)
    figure, axes = canvas(9.0, height, 1, max(len(kinds), 1), share_y=True)
    if not kinds:
        empty(axes[0], "no games")
    for axis, bet_type in zip(axes, kinds, strict=False):
        part = counts.loc[bet_type].reindex(names, fill_value=0)
        share = part.div(part.sum(axis=1).clip(lower=1), axis=0) * 100
        left = np.zeros(len(names))
        for outcome in OUTCOMES:
            axis.barh(
                names, share[outcome], left=left, height=0.8, color=OUTCOME_COLOURS[outcome],
                label=outcome.replace("_", " "),
            )  # fmt: skip
            left += share[outcome].to_numpy()
        axis.set_xlim(0, 100)
        axis.margins(y=0.01)
        axis.set_xlabel("% of games")
        axis.tick_params(axis="y", labelsize=8, length=0)
        ended = part["bankruptcy"].sum() / max(part.drop(columns="aborted").to_numpy().sum(), 1)
        title(axis, f"{bet_type.capitalize()} bets", f"{ended:.1%} bankrupt · {models}")
    axes[0].invert_yaxis()
    axes[0].set_ylabel("prompt components")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(OUTCOMES), frameon=False, fontsize=9
    )
    return picture(figure)


def pathway_figure(curve: pd.DataFrame, model: str = "") -> bytes:
    """Stop score by layer at a game's last decision, and layer by layer in the rounds before.

    Args:
        curve: Rows of the kind `pathway_curve`.
        model: Name in the heading.
    """
    figure, axes = canvas(9.0, 4.0, 1, 2)
    last = curve[curve["before_end"] == 0]
    for outcome, colour in (("voluntary_stop", SAFE), ("bankruptcy", RISKY)):
        rows = last[last["outcome"] == outcome].sort_values("layer")
        if rows.empty:
            continue
        label = f"{outcome.replace('_', ' ')} ({int(rows['decisions'].max())} games)"
        axes[0].plot(
            rows["layer"], rows["score"], color=colour, marker="o", markersize=3.5, label=label
        )
        error = rows["score_sd"].fillna(0) / np.sqrt(rows["decisions"])
        low, high = rows["score"] - 1.96 * error, rows["score"] + 1.96 * error
        axes[0].fill_between(rows["layer"], low, high, color=colour, alpha=0.18, linewidth=0)
    if last.empty:
        empty(axes[0], "nothing to show")
    else:
        axes[0].axhline(0, color=GREY, linewidth=0.8)
        axes[0].legend(frameon=False, fontsize=8.5)
        layer_ticks(axes[0], last["layer"].to_numpy())
    axes[0].set_xlabel("layer")
    axes[0].set_ylabel("stop score (pooled sd)")
    title(axes[0], "Last decision, layer by layer", f"bands: 95 % · {model}".rstrip(" ·"))
    _rounds(axes[1], curve)
    return picture(figure)


def statistics_figure(statistics: pd.DataFrame, selected: pd.DataFrame | None = None) -> bytes:
    """Cohen's d of the tested features by layer, with how many were selected.

    Args:
        statistics: Rows of the kind `statistics`.
        selected: Rows of the kind `features`, shown as dots.
    """
    figure, axes = canvas(9.0, 4.2)
    axis = axes[0]
    tested = statistics[statistics["status"] == "tested"]
    for layer, rows in tested.groupby("layer"):
        d = rows["d"].to_numpy()
        low, quarter, three, high = np.percentile(d, [1, 25, 75, 99])
        axis.vlines(layer, low, high, color=PALE, linewidth=4)
        axis.vlines(layer, quarter, three, color=GREY, linewidth=4)
    if tested.empty:
        empty(axis, "no feature could be tested")
    chosen = "" if selected is None else f" · {len(selected):,} selected"
    if selected is not None and len(selected):
        shown = selected.dropna(subset=["d"])
        for sign, colour, label in (
            (1, RISKY, "selected, higher before bankruptcy"),
            (-1, SAFE, "selected, higher before a stop"),
        ):
            part = shown[np.sign(shown["d"]) == sign]
            axis.scatter(
                part["layer"], part["d"], s=7, color=colour, alpha=0.45, linewidths=0, label=label
            )
        axis.legend(frameon=False, fontsize=8.5, loc="upper left", markerscale=2)
    if len(statistics):
        layer_ticks(axis, statistics["layer"].to_numpy())
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_xlabel("layer")
    axis.set_ylabel("Cohen's d (risky − safe)")
    below = f"{len(tested):,} of {len(statistics):,} features tested{chosen} · bars: 50 % and 98 %"
    title(axis, "Features that tell risky from safe decisions", below)
    return picture(figure)


def words_figure(words: pd.DataFrame, top: int = 12) -> bytes:
    """The words most tied to the safe and to the risky value, per prompt.

    Args:
        words: Rows of the kind `words` of one scope.
        top: Words on each side.
    """
    prompts = sorted(words["prompt"].unique())
    figure, axes = canvas(9.0, 1.6 + 0.2 * 2 * top, 1, max(len(prompts), 1))
    if not prompts:
        empty(axes[0], "no word is frequent enough to compare")
    for axis, prompt in zip(axes, prompts, strict=False):
        rows = words[words["prompt"] == prompt].sort_values("z")
        risky, safe = rows[rows["z"] < 0].head(top), rows[rows["z"] > 0].tail(top)
        shown = pd.concat([risky, safe])
        bold = shown["q_responses"] <= 0.05
        colours = np.where(shown["z"] > 0, SAFE, RISKY)
        bars = axis.barh(np.arange(len(shown)), shown["z"], color=colours, height=0.75)
        for bar, solid in zip(bars, bold, strict=True):
            bar.set_alpha(1.0 if solid else 0.35)
        axis.set_yticks(np.arange(len(shown)), shown["word"])
        axis.margins(y=0.02)
        axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_xlabel("z of log-odds  (← risky value · safe value →)")
        title(axis, str(prompt), f"{int(bold.sum())} of {len(rows):,} words differ at q ≤ .05")
    return picture(figure)


def _component_order(name: str) -> tuple[int, list[int]]:
    """BASE first, then by number of components, then in the order of the prompt."""
    letters = "" if name == "BASE" else name
    return len(letters), [COMPONENTS.index(letter) for letter in letters]


def _rounds(axis: Axes, curve: pd.DataFrame) -> None:
    """Stop score of voluntary stops: layers upward, decisions before the end to the left."""
    rows = curve[(curve["outcome"] == "voluntary_stop") & (curve["decisions"] >= 3)]
    if rows.empty:
        empty(axis, "fewer than 3 games that stop")
        return
    table = rows.pivot_table(index="layer", columns="before_end", values="score")
    table = table.reindex(columns=range(min(int(table.columns.max()), 8), -1, -1))
    limit = max(float(np.nanmax(np.abs(table.to_numpy()))), 1e-9)
    across, up = np.arange(table.shape[1] + 1) - 0.5, np.arange(table.shape[0] + 1) - 0.5
    mesh = axis.pcolormesh(across, up, table.to_numpy(), cmap="RdBu", vmin=-limit, vmax=limit)
    axis.set_xticks(np.arange(table.shape[1]), [f"−{n}" if n else "stop" for n in table.columns])
    step = 1 if table.shape[0] <= 12 else 5
    places = [i for i, layer in enumerate(table.index) if step == 1 or layer % step == 0]
    axis.set_yticks(places, [str(table.index[i]) for i in places])
    axis.set_xlabel("decisions before the stop")
    axis.set_ylabel("layer")
    bar = axis.figure.colorbar(mesh, ax=axis, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    title(axis, "Games that end in a stop", "stop score; cells of 3 games or more")
