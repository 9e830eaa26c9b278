"""A feature's card as a person reads it."""

from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pitboss.api.card import Card
from pitboss.api.examples import Example
from pitboss.api.shown import view
from pitboss.api.tables import COLOURS, spaced, table
from pitboss.api.views import effect_rows
from pitboss.formats import interval, p_value

WORDS_SHOWN, TOKENS_SHOWN, CONTEXTS_SHOWN = 8, 12, 5


@view.register
def card_view(card: Card) -> RenderableType:
    """A feature's card; sections that the study has nothing for are left out."""
    parts: list[RenderableType] = [_headline(card)]
    if len(card.arms):
        parts.append(table(_arm_rows(card.arms), "Decisions"))
    if len(card.effects):
        tested = card.effects[card.effects["status"] == "tested"]
        parts.append(table(effect_rows(tested), "Effects"))
        parts += _untested(card.effects)
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
    return Group(*spaced(parts))


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
            f"q {p_value(finding['q'])}"
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


def _untested(effects: pd.DataFrame) -> list[RenderableType]:
    """How many effects could not be tested, by the reason."""
    reasons = effects.loc[effects["status"] != "tested", "reason"].value_counts()
    if reasons.empty:
        return []
    counted = ", ".join(f"{reason.replace('_', ' ')} {n}" for reason, n in reasons.items())
    return [Text(f"Not testable: {counted}.")]


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
            "q, by responses": p_value(row.q_responses),
        }
        for row in words.head(WORDS_SHOWN).itertuples()
    ]


def _contexts(contexts: pd.DataFrame) -> list[Any]:
    lines: list[Any] = []
    for row in contexts.head(CONTEXTS_SHOWN).itertuples():
        before = str(row.before)[-60:].replace("\n", "⏎")
        after = str(row.after)[:30].replace("\n", "⏎")
        token = str(row.token).replace("\n", "⏎")
        lines += [f"{row.activation:8.2f}  …{before}", (f"«{token}»", "bold"), f"{after}…\n"]
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
            title=Text.assemble(f"{label}: ", (decision, COLOURS.get(decision, "yellow"))),
            title_align="left",
        )
        for label, decision, text in sides
    ]
    side_by_side = Table.grid(expand=True, padding=(0, 1))
    for _ in panels:
        side_by_side.add_column(ratio=1)
    side_by_side.add_row(*panels)
    return Group(title, side_by_side)
