"""Commands that begin a study: a copy of another, a dry run, a run in this process."""

import os
import re
from argparse import Namespace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from pitboss import api
from pitboss.api.tables import table
from pitboss.cli.answer import NOT_SO, Answer
from pitboss.errors import BadInput
from pitboss.formats import byte_size, duration
from pitboss.studies.fields import NAME_PATTERN

STUDIES = Path("studies")


def new(asked: Namespace) -> Answer:
    """A study file of another name, with the other's settings and comments."""
    if not re.match(NAME_PATTERN, asked.name):
        raise BadInput(
            f"{asked.name!r} cannot be a study's name.",
            next="Use small letters, digits and hyphens.",
        )
    like = _file(asked.like)
    path = like.parent / f"{asked.name}.yaml"
    if path.exists():
        raise BadInput("There is such a study already.", where=str(path), next="Choose another.")
    text, named = re.subn(r"(?m)^name:.*$", f"name: {asked.name}", like.read_text("utf-8"), count=1)
    if not named:
        raise BadInput("The study file has no line `name: ...`.", where=str(like))
    path.write_text(text, encoding="utf-8")
    view = Text(f"{path}\nEdit it, then: pitboss check {path}")
    return Answer(view, {"file": str(path)})


def check(asked: Namespace) -> Answer:
    """What a study would do: order, counts, tokens, disk, memory, minutes; nothing starts."""
    from pitboss.experiments.dry_run import dry_run
    from pitboss.experiments.registry import load_study, plan_of

    plan = plan_of(load_study(_file(asked.study)), None)
    found = dry_run(plan, api.results_root(asked.results))
    rows = [
        {
            "experiment": step.experiment,
            "model": step.model,
            "after": ", ".join(step.reads),
            "runs ≤": step.runs,
            "tokens ≤": step.tokens,
            "on disk ≤": byte_size(step.bytes),
            "memory": byte_size(step.memory),
            "minutes": "" if step.minutes is None else duration(60 * step.minutes),
            "as in": step.told_by,
        }
        for step in found.steps
    ]
    timed = [step.minutes for step in found.steps if step.minutes is not None]
    untimed = len(found.steps) - len(timed)
    whole = f"About {duration(60 * sum(timed))} on one device, one experiment after the other"
    whole += f"; {untimed} were never measured here and are not in it." if untimed else "."
    parts: list[RenderableType] = [table(rows, f"Study {found.study}", left=["as in"])]
    parts += [Text(whole if timed else "How long it takes was never measured here.")]
    parts += [Text(f"- {note}") for note in found.notes]
    parts += [Text(problem, style="red") for problem in found.problems]
    return Answer(Group(*parts), found.as_dict(), NOT_SO if found.problems else 0)


def run(asked: Namespace) -> Answer:
    """Carry out a study in this process, without a server."""
    from pitboss.experiments import local
    from pitboss.experiments.announce import write_announcement
    from pitboss.experiments.preflight import preflight
    from pitboss.experiments.registry import load_study, plan_of
    from pitboss.experiments.runtime.study import open_store
    from pitboss.report.page import render

    study, root = load_study(_file(asked.study)), api.results_root(asked.results)
    root.mkdir(parents=True, exist_ok=True)
    preflight(plan_of(study, None), root)
    plan = plan_of(study, open_store(study, root), secrets=os.environ)
    write_announcement(plan)
    local.run(plan, asked.only, tell=lambda line: print(line, flush=True))
    page = render.write(plan.store)
    data = {"study": study.name, "folder": str(plan.store.path), "report": str(page)}
    return Answer(Text(f"Results: {plan.store.path}\nReport: {page}"), data)


def _file(name: str) -> Path:
    """A study file by its path, or by its name in studies/."""
    given = Path(name)
    return given if given.suffix == ".yaml" else STUDIES / f"{name}.yaml"
