"""One picture of the `decode` sections: tokens a second of every program, on a log scale."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.results import read
from pitboss.report.canvas import BLUE, GREY, INK, RED, canvas, picture, title

SHAPE_TITLES = {
    "llama-8b": "LLaMA-3.1-8B shape, random weights",
    "gemma-9b": "Gemma-2-9B shape, random weights",
    "qwen3-8b": "Qwen3-8B shape, random weights",
    "lab-llama": "the shipped lab LLaMA",
    "lab-gemma": "the shipped lab Gemma",
}


class Bar(NamedTuple):
    """One program: its name on the axis, its rate (None if it did not run), what is written."""

    label: str
    rate: float | None
    text: str
    ours: bool


def plot(files: Sequence[Path], out: Path) -> None:
    """Draw the result files below each other and write a PNG.

    Raises:
        ValueError: There is no file, or one has no `decode` section.
    """
    found = [read(path) for path in files]
    for path, result in zip(files, found, strict=True):
        if "decode" not in result["sections"]:
            raise ValueError(f"{path} has no decode section; run `python -m bench decode`")
    if not found:
        raise ValueError("there is no result file to plot; name one or run `python -m bench all`")
    heights = [len(bars(result)) for result in found]
    figure, axes = canvas(7.6, sum(0.42 * n + 1.25 for n in heights), len(found), 1)
    grid = axes[0].get_gridspec()
    assert grid is not None
    grid.set_height_ratios(heights)
    for axis, result in zip(axes, found, strict=True):
        _draw(axis, result)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(picture(figure))


def bars(result: dict[str, Any]) -> list[Bar]:
    """The programs of a result file: ours first, then the alternatives, fastest first."""
    section = result["sections"]["decode"]
    ours, others = section["ours"], list(section["alternatives"].values())
    share = f"{ours['tokens_per_second']:,.0f}   {ours['share_of_limit']:.1%} of the limit"
    made = [Bar(ours["title"], ours["tokens_per_second"], share, True)]
    ran = [one for one in others if "tokens_per_second" in one]
    for one in sorted(ran, key=lambda one: -one["tokens_per_second"]):
        rate = one["tokens_per_second"]
        times = ours["tokens_per_second"] / rate
        batch = f"batch {one['batch']}, " if one["batch"] > 1 else ""
        made.append(
            Bar(one["title"], rate, f"{rate:,.0f}   {batch}ours is {_times(times)} ×", False)
        )
    made += [Bar(one["title"], None, _reason(one), False) for one in others if one not in ran]
    return made


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _reason(one: dict[str, Any]) -> str:
    errors = [batch["error"] for batch in one["batches"].values()]
    return "did not run: " + (errors[0] if errors else "not asked for")[:60]


def _draw(axis: Axes, result: dict[str, Any]) -> None:
    section, made = result["sections"]["decode"], bars(result)
    limit = section["limit"]["tokens_per_second"]
    rates = [bar.rate for bar in made if bar.rate is not None]
    low = min(rates) / 10  # more than a decade, or the axis has no round numbers
    axis.set_xscale("log")
    # Room on the right for what is written behind the bars.
    axis.set_xlim(low, limit * (limit / low) ** 0.55)
    for i, bar in enumerate(made):
        if bar.rate is not None:
            axis.barh(i, bar.rate - low, left=low, height=0.62, color=BLUE if bar.ours else GREY)
        axis.annotate(
            bar.text, (bar.rate or low, i), xytext=(5, 0), textcoords="offset points",
            va="center", fontsize=8.5, color=INK, fontweight="bold" if bar.ours else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2},
            zorder=3,
        )  # fmt: skip
    axis.axvline(limit, color=RED, linewidth=1.2, linestyle=(0, (4, 2)))
    axis.annotate(
        f"limit of matrix products: {limit:,.0f}", (limit, len(made) - 0.15),
        xytext=(-5, 0), textcoords="offset points", ha="right", va="center", fontsize=8, color=RED,
    )  # fmt: skip
    axis.set_yticks(range(len(made)), [bar.label.replace(", ", ",\n", 1) for bar in made])
    axis.set_ylim(len(made) + 0.15, -0.55)  # a line for the limit's name
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("tokens a second (log scale)")
    shape, tokens = result["shape"], f"{section['prompt_tokens']} + {section['new_tokens']} tokens"
    kind = section["limit"]["what"].rpartition(", ")[2]
    below = f"{result['device']}, {kind}, {tokens}, sampled, a patch in every row"
    title(axis, f"Patched decoding: {SHAPE_TITLES.get(shape, shape)}", below)
