"""The picture of Exp5: what a clamped feature does to bankruptcy, feature by feature."""

import numpy as np
import pandas as pd

from pitboss.report.canvas import GREY, RISKY, SAFE, canvas, empty, picture, title

SHOWN = 40
"""Most features in the picture; those with the smallest p."""


def clamped_figure(effects: pd.DataFrame) -> bytes:
    """Change of the bankruptcy rate under each value, with intervals; controls as a grey band.

    Args:
        effects: Rows of the kind `persistent_effects`.
    """
    figure, (axis,) = canvas(9.0, 4.2)
    tested = effects[effects["difference_bankruptcy"].notna()]
    rows = tested[tested["role"] == "feature"]
    if rows.empty:
        empty(axis, "no feature can be compared")
        return picture(figure)
    best = rows.groupby(["layer", "feature"])["p_bankruptcy"].min().sort_values(kind="stable")
    chosen = sorted(best.index[:SHOWN])
    place = {name: x for x, name in enumerate(chosen)}
    controls = tested.loc[tested["role"] == "random_direction", "difference_bankruptcy"] * 100
    if len(controls):
        low, high = np.quantile(controls, [0.025, 0.975])
        axis.axhspan(low, high, color=GREY, alpha=0.2, label="95 % of random directions")
    for arm, colour, aside in (("safe", SAFE, -0.12), ("risky", RISKY, 0.12)):
        of_arm = rows[(rows["arm"] == arm)]
        of_arm = of_arm[[n in place for n in zip(of_arm["layer"], of_arm["feature"], strict=True)]]
        names = zip(of_arm["layer"], of_arm["feature"], strict=True)
        x = np.array([place[name] + aside for name in names])
        y = of_arm["difference_bankruptcy"].to_numpy() * 100
        ends = of_arm[["ci_low_bankruptcy", "ci_high_bankruptcy"]].to_numpy() * 100
        axis.vlines(x, ends[:, 0], ends[:, 1], color=colour, linewidth=1, alpha=0.6)
        axis.scatter(x, y, s=14, color=colour, linewidths=0, label=f"{arm} value")
    axis.axhline(0, color=GREY, linewidth=0.8)
    labels = [f"L{layer:.0f}/F{feature:.0f}" for layer, feature in chosen]
    axis.set_xticks(range(len(chosen)), labels, rotation=90)
    axis.set_ylabel("Δ bankruptcies, points")
    left_out = f"; {len(best) - len(chosen)} more are not shown" if len(best) > len(chosen) else ""
    title(
        axis,
        "Games with a clamped feature",
        f"bankruptcy rate minus that of the same games without a patch, 95 % intervals{left_out}",
    )
    axis.legend(frameon=False, fontsize=8.5)
    return picture(figure)
