"""Commands that look at studies that were run."""

from argparse import Namespace
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pitboss import api
from pitboss.analysis.games import condition_outcomes
from pitboss.api.export import exported
from pitboss.api.results import Results
from pitboss.api.shown import view
from pitboss.api.tables import table
from pitboss.cli.answer import NOT_SO, Answer
from pitboss.errors import BadInput
from pitboss.formats import duration
from pitboss.report.reader import plain_rows
from pitboss.report.tables import finding_rows, strongest_first
from pitboss.store import KINDS, schema_docs
from pitboss.store.columns import Kind


def status(asked: Namespace) -> Answer:
    """One study, or a line for each."""
    if asked.study:
        found = _open(asked, asked.study).status()
        complete = found.state == "complete"
        return Answer(view(found), found.as_dict(), 0 if complete else NOT_SO)
    names = api.studies(asked.results)
    every = [_open(asked, name).status() for name in names]
    rows = [
        {
            "study": one.study,
            "state": one.state,
            "done": f"{one.share:.0%}",
            "last part": "" if one.quiet is None else f"{duration(one.quiet)} ago",
            "left": duration(one.left),
        }
        for one in every
    ]
    nothing = Text(f"No studies in {api.results_root(asked.results)}.")
    return Answer(table(rows) if rows else nothing, [one.as_dict() for one in every])


def show(asked: Namespace) -> Answer:
    """A feature's card."""
    card = _open(asked, asked.study).feature(asked.feature)
    return Answer(view(card), card.as_dict())


def effects(asked: Namespace) -> Answer:
    """Findings, the strongest first, and what the controls say of them."""
    results = _open(asked, asked.study)
    found = results.findings
    every = len(found)
    causal = int(found["causal"].sum())
    if asked.causal:
        found = found[found["causal"]]
    if asked.layer is not None:
        found = found[found["layer"] == asked.layer]
    if asked.top < 0:
        raise BadInput("--top is the number of features to show.", next="0 shows all.")
    found = strongest_first(found)
    shown = found.head(asked.top) if asked.top else found
    head = f"{causal} of {every} patched features are causal in study {results.name}."
    left_out = (
        f"{len(found) - len(shown)} more: --top 0 shows all." if len(shown) < len(found) else ""
    )
    first = next(iter(shown.itertuples()), None)
    next_step = f"pitboss show {results.name} L{first.layer}/F{first.feature}" if first else ""
    parts: list[RenderableType] = [Text(head, style="bold"), table(finding_rows(shown))]
    parts += [Text(text) for text in (*_controls(results), left_out) if text]
    parts += [Text(f"Look at one: {next_step}")] if next_step else []
    data = {
        "study": results.name,
        "patched": every,
        "causal": causal,
        "findings": plain_rows(shown),
    }
    return Answer(Group(*parts), data)


def games(asked: Namespace) -> Answer:
    """Outcomes by model and condition."""
    results = _open(asked, asked.study)
    outcomes = condition_outcomes(results.games.query("experiment == 'games'"))
    rows = [
        {
            "model": row.model,
            "condition": row.condition,
            "games": row.games,
            "bankrupt": f"{row.bankruptcy_rate:.0%} [{row.bankruptcy_low:.0%}, "
            f"{row.bankruptcy_high:.0%}]",
            "stop": f"{row.stop_rate:.0%} [{row.stop_low:.0%}, {row.stop_high:.0%}]",
            "round limit": row.round_limit,
            "stuck": row.stuck,
            "aborted": row.aborted,
            "mean rounds": float(row.mean_rounds),
            "mean bet, $": float(row.mean_bet),
        }
        for row in outcomes.itertuples()
    ]
    return Answer(table(rows), plain_rows(outcomes))


def export(asked: Namespace) -> Answer:
    """A table as a file, or on standard output."""
    results = _open(asked, asked.study)
    columns = asked.columns.split(",") if asked.columns else None
    options: dict[str, Any] = {"where": asked.where, "columns": columns}
    if asked.out == "-":
        return Answer("", {}, raw=exported(results, asked.kind, asked.format, **options))
    path = api.export(results, asked.kind, asked.format, name=asked.out, **options)
    return Answer(Text(str(path)), {"file": str(path), "bytes": path.stat().st_size})


def schema(asked: Namespace) -> Answer:
    """The columns of one table, or docs/schema.md."""
    if not asked.kind:
        data = {name: _columns(kind) for name, kind in KINDS.items()}
        return Answer("", data, raw=None if asked.json else schema_docs().encode())
    if asked.kind not in KINDS:
        raise BadInput(f"No table {asked.kind!r}.", next=f"Known tables: {', '.join(KINDS)}.")
    kind = KINDS[asked.kind]
    head = f"{kind.doc} Sorted by and unique in: {', '.join(kind.primary)}."
    return Answer(Group(Text(head), table(_columns(kind))), _columns(kind))


def compare(asked: Namespace) -> Answer:
    """Two studies side by side."""
    comparison = api.compare(_open(asked, asked.a), _open(asked, asked.b))
    status = NOT_SO if comparison.refused else 0
    return Answer(view(comparison), comparison.as_dict(), status)


def _columns(kind: Kind) -> list[dict[str, Any]]:
    return [
        {"column": c.name, "type": str(c.type), "may be empty": c.nullable, "meaning": c.doc}
        for c in kind.columns
    ]


def _open(asked: Namespace, study: str) -> Results:
    found = api.open_results(study, asked.results)
    return found.of(asked.of) if getattr(asked, "of", None) else found


def _controls(results: Results) -> list[str]:
    """How often controls pass the same test: what the count of causal features is held against."""
    rates = (results.document("controls") or {}).get("false_positive", {})
    return [
        f"{role.replace('_', ' ')}: {rate['hits']} of {rate['tested']} pass the same test."
        for role, rate in rates.items()
    ]
