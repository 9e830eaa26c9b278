"""One look for all figures, and pictures small enough for an artifact.

Figures are drawn with matplotlib's object interface: no global state, no display, safe in threads.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pitboss.errors import PitbossError

LIMIT = 70_000
"""Most bytes of a picture; as a data URI it is a third more, and an artifact holds 100 kB."""

# Okabe and Ito (2008), distinguishable in every common form of colour blindness.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
RED, SKY, PURPLE, YELLOW = "#D55E00", "#56B4E9", "#CC79A7", "#F0E442"
INK, GREY, PALE = "#222222", "#8A8A8A", "#D9D9D9"

RISKY, SAFE = RED, BLUE
OUTCOME_COLOURS = {
    "bankruptcy": RED,
    "voluntary_stop": BLUE,
    "round_limit": YELLOW,
    "stuck": PURPLE,
    "aborted": PALE,
}


def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, *, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of width x height inches with its axes, row by row."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    axes = [axis for line in grid for axis in line]
    for axis in axes:
        style(axis)
    return figure, axes


def style(axis: Axes) -> None:
    """Plain axes: no box, faint lines behind the data, dark text."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GREY)
    axis.tick_params(colors=INK, labelsize=8.5)
    axis.xaxis.label.set_fontsize(9.5)
    axis.yaxis.label.set_fontsize(9.5)
    axis.set_axisbelow(True)


def title(axis: Axes, text: str, below: str = "") -> None:
    """A heading at the left, with a smaller line that says what is shown."""
    axis.set_title(text, loc="left", fontsize=11, color=INK, fontweight="bold", pad=20)
    axis.annotate(
        below, (0, 1), xytext=(0, 6), xycoords="axes fraction", textcoords="offset points",
        fontsize=8.5, color="#555555", va="bottom",
    )  # fmt: skip


def layer_ticks(axis: Axes, layers: np.ndarray) -> None:
    """Ticks at whole layers only, not too many of them."""
    low, high = int(layers.min()), int(layers.max())
    step = 1 if high - low <= 12 else 2 if high - low <= 20 else 5
    axis.set_xticks([n for n in range(low, high + 1) if step == 1 or n % step == 0])
    axis.set_xlim(low - 0.6, high + 0.6)


def picture(figure: Figure, dpis: Sequence[int] = (120, 100, 85, 70)) -> bytes:
    """The figure as PNG of at most `LIMIT` bytes, at the finest of the resolutions that fits.

    Drawn in 256 colours: a third of the bytes, and no difference that an eye can see.

    Raises:
        PitbossError: It does not fit at any resolution; it shows too much.
    """
    for dpi in dpis:
        png = _png(figure, dpi)
        if len(png) <= LIMIT:
            return png
    raise PitbossError(
        f"A figure takes {len(png):,} bytes at {dpi} dpi, over {LIMIT:,}.",
        next="Show fewer points or layers in one figure.",
    )


def _png(figure: Figure, dpi: int) -> bytes:
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    colours = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    colours.save(small, format="PNG", optimize=True)
    return small.getvalue()


def data_uri(png: bytes) -> str:
    """The picture as a data URI, as markdown artifacts show it."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def markdown_image(png: bytes, alt: str) -> str:
    """The picture as a markdown image with its description."""
    return f"![{alt}]({data_uri(png)})"


def empty(axis: Axes, why: str) -> None:
    """Says in the middle of the axes that there is nothing to show, and why."""
    axis.text(0.5, 0.5, why, ha="center", va="center", transform=axis.transAxes, color=GREY)
    axis.set_xticks([])
    axis.set_yticks([])
