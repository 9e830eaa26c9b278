"""`pitboss floor survey | plan | pilot`: who uses the GPUs, and where work may run."""

import argparse
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pitboss.api.folders import study_folder
from pitboss.cli.answer import Answer
from pitboss.errors import BadInput
from pitboss.experiments.registry import load_study, plan_of, settings_types
from pitboss.floor.memory import history
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.memory.survey import survey as ask_driver
from pitboss.floor.memory.survey_file import read_survey, write_survey
from pitboss.floor.planning import pilots
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.jobs import Work
from pitboss.floor.planning.options import propose
from pitboss.floor.planning.stated import read_stated
from pitboss.floor.planning.tables import proposal_text, survey_table
from pitboss.folders import floor_folder
from pitboss.store import Store


def add_commands(below: Any, shared: argparse.ArgumentParser) -> None:
    """Add `floor` to the commands.

    Args:
        below: Where commands are added. shared: Arguments of every command.
    """
    text = "Who uses the GPUs of this machine, and where a study may run."
    parts = below.add_parser("floor", help=text, description=text)
    parts = parts.add_subparsers(dest="part", required=True, metavar="COMMAND")

    def command(name: str, text: str, run: Any, *, looks: bool) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = parts.add_parser(
            name, help=text, description=text, parents=[shared]
        )
        made.set_defaults(run=run)
        made.add_argument("--state", type=Path, default=floor_folder(), metavar="FOLDER",
                          help="what is known of these GPUs (default: %(default)s)")  # fmt: skip
        if looks:
            made.add_argument("--floor", type=Path, metavar="FILE",
                              help="a survey file, instead of asking the driver")  # fmt: skip
        return made

    asked = command("survey", "Every GPU and who uses it.", survey, looks=True)
    asked.add_argument("--write", type=Path, metavar="FILE", help="write it as a survey file too")
    asked = command("plan", "Where the experiments may run.", plan, looks=True)
    asked.add_argument("--study", type=Path, metavar="FILE", help="plan this study's experiments")
    asked.add_argument(
        "--figures",
        type=Path,
        metavar="FILE",
        help="a plan's own figures: everything without --study, with it what no pilot timed",
    )
    asked.add_argument(
        "--share",
        type=int,
        nargs="*",
        metavar="GPU",
        help="GPUs that may be shared (default: all; none: --share without a number)",
    )
    asked = command("pilot", "Keep the speeds of a study's finished parts.", pilot, looks=False)
    asked.add_argument("study", help="a study with results")
    asked.add_argument("--kind", metavar="NAME", help="kind of GPU (default: this machine's)")


def survey(asked: Namespace) -> Answer:
    """The GPUs; a look at the driver is remembered."""
    found, growth = _taken(asked)
    if asked.write is not None:
        write_survey(found, asked.write)
    return _answer(survey_table(found, growth) + "\n", asdict(found), asked)


def plan(asked: Namespace) -> Answer:
    """Options, and which of them is recommended."""
    found, growth = _taken(asked)
    share = None if asked.share is None else frozenset(asked.share)
    work = _work(asked, found)
    proposal = propose(found, work, growth, share)
    return _answer(proposal_text(proposal, growth, work), asdict(proposal), asked)


def pilot(asked: Namespace) -> Answer:
    """Speeds, kept for the next plan."""
    gpu = asked.kind or _only_kind()
    counted = {kind: each.counted for kind, each in settings_types().items() if each.counted}
    store = Store.open(study_folder(asked.study, asked.results))
    found = pilots.timed(store, gpu, counted)
    for record in found:
        pilots.add_pilot(record, asked.state / pilots.FILE)
    lines = [f"{r.experiment} {r.model}: {r.units_per_second:.4g}/s on {r.gpu}\n" for r in found]
    return _answer("".join(lines), [asdict(record) for record in found], asked)


def _answer(text: str, data: Any, asked: Namespace) -> Answer:
    """Tables are wider than a terminal may be, so they are not fitted to it."""
    return Answer("", data, raw=None if asked.json else text.encode())


def _taken(asked: Namespace) -> tuple[Survey, dict[int, int] | None]:
    """The survey, and by how much tenants may grow; a real one is remembered."""
    if asked.floor is not None:
        return read_survey(asked.floor), None
    found = ask_driver()
    history.remember(found, asked.state / history.FILE)
    return found, history.growths(found, asked.state / history.FILE)


def _only_kind() -> str:
    kinds = sorted({gpu.name for gpu in ask_driver().gpus})
    if len(kinds) != 1:
        raise BadInput(
            f"This machine has {', '.join(kinds) or 'no GPU'}.",
            next="Say with --kind on which the results were computed.",
        )
    return kinds[0]


def _work(asked: Namespace, found: Survey) -> Work:
    stated = None if asked.figures is None else read_stated(asked.figures)
    if asked.study is not None:
        kinds = [gpu.name for gpu in found.gpus]
        study = load_study(asked.study)
        work = [each for experiment in plan_of(study, None) for each in experiment.workload()]
        return study_work(study, work, kinds, pilots.read_pilots(asked.state / pilots.FILE), stated)
    if stated is None:
        raise BadInput(
            "There is nothing to plan.",
            next="Name a study with --study, or a plan's figures with --figures.",
        )
    return stated.work()
