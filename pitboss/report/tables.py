"""Tables that a person reads in an artifact: short, formatted, and never too large to store."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pitboss.analysis.effects import PRIMARY
from pitboss.formats import interval, number, p_value

LIMIT = 90_000
"""Most characters of a table; an artifact should stay under 100 kB."""


def markdown_table(rows: Sequence[Mapping[str, Any]], *, rest: str = "", limit: int = LIMIT) -> str:
    """Rows as a markdown table that fits into `limit` bytes.

    Args:
        rows: Rows with the same keys; numbers are rounded for reading.
        rest: Where all rows are, named when some are left out.
        limit: Most bytes of the text.
    """
    if not rows:
        return "_No rows._\n"
    names = list(rows[0])
    head = [_line(names), _line(["---"] * len(names))]
    lines = [_line([number(row[name]) for name in names]) for row in rows]
    kept, size = 0, sum(len(line.encode()) + 1 for line in head) + 300
    for line in lines:
        size += len(line.encode()) + 1
        if size > limit:
            break
        kept += 1
    text = "\n".join([*head, *lines[:kept]]) + "\n"
    if kept < len(lines):
        where = f"; all rows are in `{rest}`" if rest else ""
        text += f"\n_{len(lines) - kept:,} of {len(lines):,} rows are left out here{where}._\n"
    return text


def artifact_rows(
    rows: Sequence[Mapping[str, Any]], *, rest: str = "", limit: int = LIMIT
) -> list[dict[str, Any]]:
    """Rows for a table artifact, cut to `limit` bytes; the last row says what is left out."""
    kept: list[dict[str, Any]] = []
    size = 300
    for index, row in enumerate(rows):
        cells = {name: number(value) for name, value in row.items()}
        size += sum(len(f'"{k}": "{v}", '.encode()) for k, v in cells.items())
        if size > limit:
            first = next(iter(cells))
            where = f"; all rows are in {rest}" if rest else ""
            note = f"{len(rows) - index:,} of {len(rows):,} rows are left out here{where}"
            return [*kept, {name: note if name == first else "" for name in cells}]
        kept.append(cells)
    return kept


def primary(effects: pd.DataFrame, outcome: str = "stop", role: str | None = None) -> pd.DataFrame:
    """What the headline is about: safe against risky at discovery, of one role or of all.

    Args:
        effects: Rows of the kind `effects`.
    """
    chosen = (effects["phase"] == "discovery") & (effects["contrast"] == PRIMARY)
    chosen &= effects["outcome"] == outcome
    return effects[chosen if role is None else chosen & (effects["role"] == role)]


def strongest_effects(effects: pd.DataFrame, top: int = 50) -> list[dict[str, Any]]:
    """The primary contrasts with the smallest p, readable.

    Args:
        effects: Rows of the kind `effects`.
        top: Rows at most.
    """
    rows = primary(effects, role="feature")
    rows = rows[rows["status"] == "tested"]
    rows = rows.assign(size=rows["difference"].abs())
    rows = rows.sort_values(["p", "size", "layer", "feature"], ascending=[True, False, True, True])
    return [
        {
            "layer": int(row.layer),
            "feature": int(row.feature),
            "prompt": row.prompt,
            "stop, safe value": f"{row.events_a:.0f}/{row.n_a}",
            "stop, risky value": f"{row.events_b:.0f}/{row.n_b}",
            "Δ stop": f"{row.difference:+.0%} [{row.ci_low:+.0%}, {row.ci_high:+.0%}]",
            "p": row.p,
            "q": row.q,
            "causal": "yes" if row.causal else "no",
            "unreadable arm": row.unreadable_arm,
        }
        for row in rows.head(top).itertuples()
    ]


def strongest_first(findings: pd.DataFrame) -> pd.DataFrame:
    """Rows of the kind `findings`: causal features first, then by p, then by size."""
    keyed = findings.assign(_p=findings["p"].fillna(2), _size=-findings["difference"].abs())
    order = ["causal", "_p", "_size", "layer", "feature"]
    ranked = keyed.sort_values(order, ascending=[False, True, True, True, True])
    return ranked.drop(columns=["_p", "_size"]).reset_index(drop=True)


def finding_rows(findings: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the kind `findings`, readable."""
    return [
        {
            "feature": f"L{row.layer}/F{row.feature}",
            "causal": number(row.causal),
            "confirmed": number(row.confirmed),
            "prompt": row.prompt,
            "stop, safe - risky": interval(row.difference, row.ci_low, row.ci_high),
            "q": p_value(row.q),
            "prompts": row.prompts_causal,
            "runs": row.runs,
            "d": row.d,
            "breaks answers": "yes" if row.unreadable else "",
        }
        for row in findings.itertuples()
    ]


def control_rows(controls: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What controls.json says of each kind of control, readable."""
    rows = [
        {
            "control": role.replace("_", " "),
            "patched": share["tested"],
            "counted": share["hits"],
            "rate": f"{share['rate']:.1%} [{share['low']:.1%}, {share['high']:.1%}]",
        }
        for role, share in controls["false_positive"].items()
    ]
    own = controls["own_value"]
    same = {
        "control": "own value",
        "patched": own["runs"],
        "counted": own["runs"] - own["identical"],
    }
    return [*rows, {**same, "rate": "responses that changed"}] if own["runs"] else rows


def leading_features(
    ranking: pd.DataFrame, top: int = 100, contrasted: tuple[str, str] | None = ("safe", "risky")
) -> list[dict[str, Any]]:
    """The features that lead a screening, readable.

    Args:
        ranking: Rows of the kind `ranking`, in their order.
        top: Rows at most.
        contrasted: The two values of the contrast; None where there is none.
    """
    contrast = " − ".join(contrasted or ("contrast",))
    return [
        {
            "rank": int(row.rank),
            "layer": int(row.layer),
            "feature": int(row.feature),
            contrast: None if pd.isna(row.contrast) else f"{row.contrast:+.3f}",
            "in": row.contrast_prompt,
            "shift": f"{row.shift:+.3f}",
            "under": f"{row.prompt}, {row.value_name}",
        }
        for row in ranking.head(top).itertuples()
    ]


def screened_rows(screened: pd.DataFrame, top: int = 20) -> list[dict[str, Any]]:
    """The largest shifts of one chunk of a screening.

    Args:
        screened: Rows of the kind `screening`.
        top: Rows at most.
    """
    order = screened["shift"].abs().sort_values(ascending=False, kind="stable").index
    return [
        {
            "layer": int(row.layer),
            "feature": int(row.feature),
            "prompt": row.prompt,
            "value": f"{row.value_name} {row.value:.3g}",
            "own activation": float(row.own),
            "P(stop)": f"{row.p_stop:.1%}",
            "Δ log odds": f"{row.shift:+.3f}",
        }
        for row in screened.loc[order[:top]].itertuples()
    ]


def outcome_rows(outcomes: pd.DataFrame) -> list[dict[str, Any]]:
    """Outcomes per model and bet type, from the result of `condition_outcomes`."""
    made = []
    for (model, bet_type), rows in outcomes.groupby(["model", "bet_type"]):
        finished = int(rows["finished"].sum())
        made.append(
            {
                "model": model,
                "bets": bet_type,
                "conditions": len(rows),
                "games": int(rows["games"].sum()),
                **{
                    name.replace("_", " "): f"{int(rows[name].sum())} "
                    f"({rows[name].sum() / finished:.1%})"
                    if finished
                    else "0"
                    for name in ("bankruptcy", "voluntary_stop", "round_limit", "stuck")
                },
                "aborted": int(rows["aborted"].sum()),
                "retries": int(rows["retries"].sum()),
            }
        )
    return made


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\r", " ").replace("\n", " ")
