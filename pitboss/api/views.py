"""What a person reads of a study in a terminal: tables made with rich."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pitboss.api.card import Card, Example
from pitboss.api.compare import Comparison
from pitboss.api.status import Status, Step

WORDS_SHOWN, TOKENS_SHOWN, CONTEXTS_SHOWN, ROWS_SHOWN = 8, 12, 5, 20
_COLOURS = {
    "complete": "green",
    "working": "cyan",
    "gained": "green",
    "lost": "red",
    "turned": "magenta",
    "stop": "blue",
    "bet": "red",
}


def table(
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame, title: str = "", left: Sequence[str] = ()
) -> Table:
    """Rows as a table; numbers stand right.

    Args:
        left: Columns that stand left though their first cell looks like a number.
    """
    listed = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else list(rows)
    made = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    names = list(listed[0]) if listed else ["nothing"]
    for name in names:
        cells = [row[name] for row in listed]
        number = any(isinstance(cell, int | float) or _counted(cell) for cell in cells)
        text = name in left or not number
        made.add_column(str(name), justify="left" if text else "right", overflow="fold")
    for row in listed:
        made.add_row(*(_cell(row[name]) for name in names))
    return made


def duration(seconds: float | None) -> str:
    """`5,400` -> `1 h 30 min`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"


def interval(value: Any, low: Any, high: Any, shown: str = "{:+.2f}") -> str:
    """`-0.35 [-0.51, -0.16]`; empty where there is no value."""
    if value is None or pd.isna(value):
        return ""
    ends = "" if pd.isna(low) else f" [{shown.format(low)}, {shown.format(high)}]"
    return shown.format(value) + ends


def status_view(status: Status) -> RenderableType:
    """Steps, lanes and what is wrong."""
    head = Text.assemble(
        (status.study, "bold"),
        "  ",
        (status.state, _COLOURS.get(status.state, "yellow")),
        f"  {status.share:.0%}",
        f"  last part {duration(status.quiet)} ago" if status.quiet is not None else "",
        f"  about {duration(status.left)} of work left" if status.left else "",
        f"\n{status.path}",
    )
    parts: list[RenderableType] = [head, table([_step_row(step) for step in status.steps])]
    if status.state != "complete" and status.lanes:
        rows = [
            {
                "lane": lane.lane,
                "at": lane.experiment,
                "parts": lane.parts,
                "rows": lane.rows,
                "rows/s": lane.rate,
                "last part": f"{duration(lane.quiet)} ago",
            }
            for lane in status.lanes
        ]
        parts.append(table(rows, "Lanes"))
    if status.working_on:
        parts.append(Text(f"Being worked on: {', '.join(status.working_on)}"))
    parts += [Text(problem, style="red") for problem in status.problems]
    parts += [
        Text(f"{step.experiment}: {step.note}", style="yellow")
        for step in status.steps
        if step.note
    ]
    return Group(*parts)


def card_view(card: Card) -> RenderableType:
    """A feature's card; sections that the study has nothing for are left out."""
    parts: list[RenderableType] = [_headline(card)]
    if len(card.arms):
        parts.append(table(_arm_rows(card.arms), "Decisions"))
    if len(card.effects):
        parts.append(table(effect_rows(card.effects), "Effects"))
    if len(card.screening):
        title = f"Screening, place {card.rank:,}" if card.rank else "Screening"
        parts.append(table(_screening_rows(card.screening), title))
    if len(card.tokens):
        shown = card.tokens.groupby("matrix").head(TOKENS_SHOWN)
        tokens = ", ".join(repr(token) for token in shown["token"])
        parts.append(Text.assemble(("Tokens its decoder row promotes\n", "bold"), tokens))
    if len(card.words):
        parts.append(table(_word_rows(card.words), "Words, safe against risky value"))
    if len(card.contexts):
        parts.append(Text.assemble(("Where it fires most\n", "bold"), *_contexts(card.contexts)))
    parts += [_example_view(example) for example in card.examples]
    return Group(*_spaced(parts))


def comparison_view(comparison: Comparison) -> RenderableType:
    """Settings, counts, and findings or why there are none."""
    a, b = comparison.a, comparison.b
    names = {"a": a, "b": b} if a != b else {}
    parts: list[RenderableType] = [
        table(comparison.settings.astype(str).rename(columns=names), "Settings that differ", [a, b])
        if len(comparison.settings)
        else Text("No setting differs."),
        table(comparison.counts.rename(columns=names), "Rows"),
    ]
    if comparison.refused:
        parts.append(Text("Findings are not compared.", style="bold red"))
        parts += [Text(reason, style="red") for reason in comparison.refused]
        return Group(*_spaced(parts))
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
    return Group(*_spaced(parts))


def effect_rows(effects: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the kind `effects`, readable."""
    several = effects["phase"].nunique() > 1
    return [
        {
            **({"phase": row.phase} if several else {}),
            "prompt": row.prompt,
            "contrast": row.contrast.replace("_", " "),
            "outcome": row.outcome,
            "a": _of(row.events_a, row.n_a, row.value_a),
            "b": _of(row.events_b, row.n_b, row.value_b),
            "difference": interval(row.difference, row.ci_low, row.ci_high),
            "p": _p(row.p),
            "q": _p(row.q),
            "": "*" if row.significant else "" if row.status == "tested" else row.reason,
        }
        for row in effects.itertuples()
    ]


def finding_rows(findings: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the kind `findings`, readable."""
    return [
        {
            "feature": f"L{row.layer}/F{row.feature}",
            "causal": "yes" if row.causal else "no",
            "confirmed": "" if pd.isna(row.confirmed) else "yes" if row.confirmed else "no",
            "prompt": row.prompt,
            "stop, safe - risky": interval(row.difference, row.ci_low, row.ci_high),
            "q": _p(row.q),
            "prompts": row.prompts_causal,
            "runs": row.runs,
            "d": row.d,
            "breaks answers": "yes" if row.unreadable else "",
        }
        for row in findings.itertuples()
    ]


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


def _headline(card: Card) -> Text:
    finding, selected = card.finding, card.selected
    verdict = "not patched"
    if finding:
        verdict = "causal" if finding["causal"] else "not found causal"
        if finding["confirmed"] is not None:
            verdict += ", confirmed" if finding["confirmed"] else ", not confirmed"
        if finding["unreadable"]:
            verdict += ", breaks answers"
    lines = [f"\n{card.description}"] if card.description else []
    if finding and finding["difference"] is not None:
        effect = interval(finding["difference"], finding["ci_low"], finding["ci_high"])
        lines.append(
            f"\nStop rate at the safe minus at the risky value: {effect} in {finding['prompt']}, "
            f"q {_p(finding['q'])}"
        )
    if selected:
        d = "" if selected["d"] is None else f", d {selected['d']:+.2f} (risky minus safe games)"
        lines.append(f"\nSafe value {selected['safe']:.4g}, risky {selected['risky']:.4g}{d}")
    colour = "green" if card.causal else ""
    return Text.assemble(
        (card.name, "bold"), f"  {card.model}, study {card.study}  ", (verdict, colour), *lines
    )


def _arm_rows(arms: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "prompt": row.prompt,
            **({"phase": row.phase} if arms["phase"].nunique() > 1 else {}),
            "arm": row.arm,
            "stop": row.stop,
            "bet": row.bet,
            "no decision": row.none,
            "stop rate": "" if pd.isna(row.stop_rate) else f"{row.stop_rate:.0%}",
        }
        for row in arms.itertuples()
    ]


def _screening_rows(screening: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "prompt": row.prompt,
            "value": f"{row.value_name} {row.value:.3g}",
            "own": f"{row.own:.3g}",
            "P(stop)": f"{row.p_stop:.1%}",
            "shift of the log odds": f"{row.shift:+.3f}",
        }
        for row in screening.itertuples()
    ]


def _word_rows(words: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "prompt": row.prompt,
            "word": row.word,
            "in 1,000, safe": f"{row.rate_safe:.1f}",
            "risky": f"{row.rate_risky:.1f}",
            "z": f"{row.z:+.1f}",
            "q": _p(row.q),
        }
        for row in words.head(WORDS_SHOWN).itertuples()
    ]


def _contexts(contexts: pd.DataFrame) -> list[Any]:
    lines: list[Any] = []
    for row in contexts.head(CONTEXTS_SHOWN).itertuples():
        before = str(row.before)[-60:].replace("\n", "⏎")
        after = str(row.after)[:30].replace("\n", "⏎")
        token = str(row.token).replace("\n", "⏎")
        lines += [f"{row.activation:8.2f}  …{before}", (token, "bold reverse"), f"{after}…\n"]
    return lines


def _example_view(example: Example) -> RenderableType:
    title = Text.assemble(
        (f"{example.prompt}, run {example.trial}: the same noise, without and with the patch", "b"),
        "  the decision changes" if example.changed else "  the decision stays",
    )
    sides = [
        ("without the patch", example.decision_unpatched, example.unpatched),
        (f"set to {example.arm} ({example.value:.3g})", example.decision_patched, example.patched),
    ]
    panels = [
        Panel(
            Text(text.strip("\n") or "(empty)"),
            title=Text.assemble(f"{label}: ", (decision, _COLOURS.get(decision, "yellow"))),
            title_align="left",
        )
        for label, decision, text in sides
    ]
    side_by_side = Table.grid(expand=True, padding=(0, 1))
    for _ in panels:
        side_by_side.add_column(ratio=1)
    side_by_side.add_row(*panels)
    return Group(title, side_by_side)


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


def _of(events: Any, n: Any, value: Any) -> str:
    if pd.isna(value):
        return f"-/{n}"
    return f"{value:.2f} of {n}" if pd.isna(events) else f"{int(events)}/{n}"


def _p(value: Any) -> str:
    if value is None or pd.isna(value):
        return ""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _counted(cell: Any) -> bool:
    return isinstance(cell, str) and cell[:1].isdigit() and "/" not in cell[:2]


def _cell(value: Any) -> Text:
    if value is None or (isinstance(value, float) and pd.isna(value)) or value is pd.NA:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float):
        return Text(f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}")
    if isinstance(value, int):
        return Text(f"{value:,}")
    text = str(value)
    return Text(text, style=_COLOURS.get(text, ""))


def _spaced(parts: Sequence[RenderableType]) -> list[RenderableType]:
    return [piece for part in parts for piece in (part, Text(""))][:-1]
