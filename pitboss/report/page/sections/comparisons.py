"""Comparisons of Exp5: the safe value against the risky one, and each against no patch.

Each has its own family per measure and role (docs/clamped-games.md). What a feature's family calls
significant gives the p that random directions are held against.
"""

from typing import Any

import pandas as pd

from pitboss.report.page.data import FEATURE, columns, plain
from pitboss.report.page.numbers import Ledger, shown

UNITS = {"bankruptcy": 100, "stop": 100, "aborted": 100, "rounds": 1, "betting": 1, "extreme": 1,
         "loss_chasing": 1}  # fmt: skip
"""Measures in the order of the page; 100 for those shown in percentage points."""
VALUES = "safe_vs_risky"
CONTRASTS = {"safe": "safe_vs_baseline", "risky": "risky_vs_baseline"}
ROLES = ("feature", "random_direction")
NAMED = ["role", *FEATURE, "contrast", "measure"]
NUMBERS = ["difference", "ci_low", "ci_high", "p", "q"]
FILES = {VALUES: "persistent_contrasts.parquet"}


def compared_games(
    effects: pd.DataFrame, contrasts: pd.DataFrame | None, fdr: float
) -> pd.DataFrame:
    """One row a feature or control, contrast and measure: NAMED, pairs, NUMBERS, hit.

    `hit` is a significant feature, or a control that reaches the p of its features.
    """
    frames = [] if contrasts is None else [contrasts.assign(contrast=VALUES)]
    arms = effects[effects["role"] != "baseline"]
    for measure in UNITS:
        given = {name: f"{name}_{measure}" for name in ("pairs", *NUMBERS)}
        frames.append(
            pd.DataFrame(
                {
                    **{name: arms[name] for name in ("role", *FEATURE)},
                    "contrast": arms["arm"].map(CONTRASTS),
                    "measure": measure,
                    **{name: arms.get(column) for name, column in given.items()},
                }
            )
        )
    found = pd.concat([frame[[*NAMED, "pairs", *NUMBERS]] for frame in frames], ignore_index=True)
    found[FEATURE] = found[FEATURE].astype(int)
    found[NUMBERS] = found[NUMBERS].astype(float)
    hit = (found["role"] == "feature") & (found["q"] <= fdr)
    reached = found["p"].where(hit).groupby([found["contrast"], found["measure"]]).transform("max")
    control = found["role"] != "feature"
    return found.assign(hit=hit | (control & (found["p"] <= reached)))


def strongest(compared: pd.DataFrame, most: int) -> pd.DataFrame:
    """The features whose games change most clearly, by layer and number: FEATURE, place."""
    features = compared[compared["role"] == "feature"]
    by_p = features.groupby(FEATURE)["p"].min().sort_values(kind="stable")
    kept = by_p.head(most).index.to_frame(index=False).sort_values(FEATURE)
    return kept.assign(place=range(len(kept)))


def families(ledger: Ledger, compared: pd.DataFrame, fdr: float) -> list[dict[str, Any]]:
    """Per measure: what is significant of what could be tested, contrast by contrast."""
    made = []
    for measure in UNITS:
        rows = compared[compared["measure"] == measure]
        cells = [
            _cell(ledger, rows, contrast, role, measure, fdr)
            for contrast in (VALUES, *CONTRASTS.values())
            for role in ROLES
        ]
        made.append({"measure": measure, "cells": cells})
    return made


def _cell(
    ledger: Ledger, rows: pd.DataFrame, contrast: str, role: str, measure: str, fdr: float
) -> dict[str, Any] | None:
    """How many are hits, of how many; None where the study has none of the role."""
    mine = rows[(rows["contrast"] == contrast) & (rows["role"] == role)]
    if mine.empty:
        return None
    where, p, q = _place(contrast, role, measure)
    rule = f"{q} <= {fdr:g}" if role == "feature" else f"{p} <= the features' largest significant p"
    key, file = (
        f"held.{contrast}.{role}.{measure}",
        FILES.get(contrast, "persistent_effects.parquet"),
    )
    return {
        "hits": ledger.put(f"{key}.hits", int(mine["hit"].sum()), file, f"{where} and {rule}"),
        "tested": ledger.put(f"{key}.tested", int(mine["p"].notna().sum()), file,
                             f"{where} and {p}.notna()"),
    }  # fmt: skip


def _place(contrast: str, role: str, measure: str) -> tuple[str, str, str]:
    """Rows of a comparison in its file, and the columns of p and q there."""
    if contrast == VALUES:
        return f"role == '{role}' and measure == '{measure}'", "p", "q"
    arm = contrast.partition("_")[0]
    return f"role == '{role}' and arm == '{arm}'", f"p_{measure}", f"q_{measure}"


def lines(compared: pd.DataFrame) -> list[dict[str, Any]]:
    """A line a feature or control and contrast, with a cell for each measure."""
    order = {name: n for n, name in enumerate((VALUES, *CONTRASTS.values()))}
    keyed = compared.assign(order=compared["contrast"].map(order))
    grouped = keyed.groupby(["order", "place", "role"])
    made = []
    for _, rows in grouped:
        first = rows.iloc[0]
        by_measure = {row["measure"]: row for row in rows.to_dict("records")}
        made.append(
            {
                "name": f"L{first['layer']}/F{first['feature']}",
                "role": first["role"],
                "contrast": first["contrast"],
                "cells": [_difference(by_measure.get(name), unit) for name, unit in UNITS.items()],
            }
        )
    return made


def _difference(row: dict[str, Any] | None, unit: int) -> dict[str, Any] | None:
    """A difference with its interval; None where no game has a value in both arms."""
    if row is None or pd.isna(row["difference"]):
        return None
    low, high = row["ci_low"], row["ci_high"]
    return {
        "difference": _signed(row["difference"], unit),
        "between": "" if pd.isna(low) else f"{_signed(low, unit)} … {_signed(high, unit)}",
        "q": shown(plain(row["q"], 2)),
        "pairs": shown(int(row["pairs"])),
        "hit": bool(row["hit"]),
    }


def _signed(value: float, unit: int) -> str:
    """With its sign, and none where it is shown as 0."""
    digits = 0 if unit == 100 else 2
    text = f"{unit * value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def figure(compared: pd.DataFrame) -> dict[str, list[Any]]:
    """What the plots draw, column by column."""
    drawn = compared[compared["difference"].notna()]
    names = {name: drawn[name] for name in ("role", "contrast", "measure", "pairs", *NUMBERS)}
    feature = "L" + drawn["layer"].astype(str) + "/F" + drawn["feature"].astype(str)
    return columns(pd.DataFrame({"f": feature, **names, "hit": drawn["hit"]}))
