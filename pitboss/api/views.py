"""A study's status, findings and comparison as a person reads them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from pitboss.api.compare import Comparison
from pitboss.api.results import Results
from pitboss.api.shown import view
from pitboss.api.status import Status
from pitboss.api.steps import Step
from pitboss.api.tables import COLOURS, spaced, table
from pitboss.formats import duration, interval, missing, p_value
from pitboss.report.made_by import DOCUMENTS

ROWS_SHOWN = 20
_OUTCOMES = ("stop", "stake", "extreme", "readable")
_CONTRASTS = ("safe_vs_risky", "safe_vs_baseline", "risky_vs_baseline")


@view.register
def results_view(results: Results) -> RenderableType:
    """Where the study lies, and which tables and files it has."""
    seen = f", seen from {results.of_name}" if results.of_name else ""
    rows = [
        {"table": kind, "rows": sum(ref.rows for ref in results.refs(kind))}
        for kind in results.kinds
    ]
    there = [
        name for name, each in DOCUMENTS.items() if (results.path / results.file(each)).is_file()
    ]
    parts: list[RenderableType] = [Text(f"study {results.name}{seen} in {results.path}")]
    parts.append(table(rows) if rows else Text("Nothing is finished yet."))
    parts += [Text(f"files: {', '.join(there)}")] if there else []
    if results.further and results.of_name is None:
        parts.append(Text(f"of(...): {', '.join(results.further)}"))
    return Group(*parts)


@view.register
def status_view(status: Status) -> RenderableType:
    """Steps, workers and what is wrong."""
    head = Text.assemble(
        (status.study, "bold"),
        "  ",
        (status.state, COLOURS.get(status.state, "yellow")),
        f"  {status.share:.0%}",
        f"  last part {duration(status.quiet)} ago" if status.quiet is not None else "",
        f"  about {duration(status.left)} of work left" if status.left else "",
        f"\n{status.path}",
    )
    parts: list[RenderableType] = [head, table([_step_row(step) for step in status.steps])]
    if status.state != "complete" and status.workers:
        rows = [
            {
                "worker": worker.worker,
                "at": worker.experiment,
                "parts": worker.parts,
                "rows": worker.rows,
                "rows/s": worker.rate,
                "last part": f"{duration(worker.quiet)} ago",
            }
            for worker in status.workers
        ]
        parts.append(table(rows, "Workers"))
    if status.working_on:
        parts.append(Text(f"Being worked on: {', '.join(status.working_on)}"))
    parts += [Text(problem, style="red") for problem in status.problems]
    parts += [
        Text(f"{step.experiment}: an earlier experiment decides ({step.note})", style="yellow")
        for step in status.steps
        if step.note
    ]
    return Group(*parts)


@view.register
def comparison_view(comparison: Comparison) -> RenderableType:
    """Settings, counts, and findings or why there are none."""
    a, b = comparison.a, comparison.b
    names = {"a": a, "b": b} if a != b else {}
    parts: list[RenderableType] = [
        table(comparison.settings.map(str).rename(columns=names), "Settings that differ", [a, b])
        if len(comparison.settings)
        else Text("No setting differs."),
        table(comparison.counts.rename(columns=names), "Rows"),
    ]
    if comparison.refused:
        parts.append(Text("Findings are not compared.", style="bold red"))
        parts += [Text(reason, style="red") for reason in comparison.refused]
        return Group(*spaced(parts))
    parts += [Text(caution, style="yellow") for caution in comparison.cautions]
    counted = ", ".join(f"{name} {number}" for name, number in sorted(comparison.changes.items()))
    parts.append(Text.assemble(("Findings  ", "bold"), counted))
    changed = comparison.findings[comparison.findings["change"].isin(["gained", "lost", "turned"])]
    if len(changed):
        parts.append(table([_change_row(row, a, b) for row in changed.to_dict("records")]))
    differing = comparison.effects[comparison.effects["differs"]]
    title = (
        f"Effects whose change excludes 0: {len(differing):,} of {len(comparison.effects):,} "
        "(one in twenty does by chance)"
    )
    rows = [_difference_row(row, a, b) for row in differing.head(ROWS_SHOWN).to_dict("records")]
    parts.append(table(rows, title) if rows else Text(title))
    return Group(*spaced(parts))


def effect_rows(effects: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the kind `effects`, readable; the decision to stop and the primary contrast first."""
    place = {name: n for n, name in enumerate((*_OUTCOMES, *_CONTRASTS))}
    order = ["phase", "outcome", "contrast", "prompt"]
    effects = effects.sort_values(order, key=lambda c: c.map(place) if c.name in order[1:3] else c)
    several = effects["phase"].nunique() > 1
    return [
        {
            **({"phase": row.phase} if several else {}),
            "prompt": row.prompt,
            "contrast": row.contrast.replace("_", " "),
            "outcome": row.outcome,
            "a": _share_of(row.events_a, row.n_a, row.value_a),
            "b": _share_of(row.events_b, row.n_b, row.value_b),
            "difference": interval(row.difference, row.ci_low, row.ci_high),
            "p": p_value(row.p),
            "q": p_value(row.q),
            "": "*" if row.significant else "",
        }
        for row in effects.itertuples()
    ]


def _share_of(events: Any, n: Any, value: Any) -> str:
    """`18/20` for a share, `0.35 of 20` for a mean, `-/0` for neither."""
    if missing(value):
        return f"-/{n}"
    return f"{value:.2f} of {n}" if missing(events) else f"{int(events)}/{n}"


def _step_row(step: Step) -> dict[str, Any]:
    unknown = "?" if step.note else ""
    rows = "" if step.note else f"{step.rows:,}"
    wanted = unknown if step.rows_expected is None else f"{step.rows_expected:,}"
    return {
        "experiment": step.experiment,
        "table": step.table,
        "parts": f"{step.parts}/{'?' if step.parts_expected is None else step.parts_expected}",
        "rows": rows,
        "expected": wanted,
        "rows/s": step.rate,
        "left": "" if step.complete else duration(step.left),
        "": "done" if step.complete else "",
    }


def _change_row(row: Mapping[str, Any], a: str, b: str) -> dict[str, Any]:
    return {
        "feature": f"L{row['layer']}/F{row['feature']}",
        "": row["change"],
        a: interval(row["difference_a"], row["ci_low_a"], row["ci_high_a"]),
        f"{b} ": interval(row["difference_b"], row["ci_low_b"], row["ci_high_b"]),
    }


def _difference_row(row: Mapping[str, Any], a: str, b: str) -> dict[str, Any]:
    role = "" if row["role"] == "feature" else f" ({row['role'].replace('_', ' ')})"
    return {
        "feature": f"L{row['layer']}/F{row['feature']}{role}",
        "prompt": row["prompt"],
        "contrast": row["contrast"].replace("_", " "),
        "outcome": row["outcome"],
        a: f"{row['difference_a']:+.2f}",
        f"{b} ": f"{row['difference_b']:+.2f}",
        "change": interval(row["change"], row["change_low"], row["change_high"]),
    }
