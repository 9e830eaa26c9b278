"""Who uses the GPUs, and where work may run: `python -m pitboss.cli.floor survey | plan | pilot`"""

import argparse
import sys
from pathlib import Path

from pitboss.errors import BadInput, PitbossError
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.memory.history import growths, remember
from pitboss.floor.memory.survey import read_survey, survey, write_survey
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.jobs import Work
from pitboss.floor.planning.options import propose
from pitboss.floor.planning.pilots import add_pilot, read_pilots
from pitboss.floor.planning.stated import read_stated
from pitboss.floor.planning.tables import proposal_text, survey_table
from pitboss.floor.planning.timed import timed
from pitboss.folders import HISTORY, PILOTS, floor_folder
from pitboss.store import Store
from pitboss.studies.loading import load_study


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        {"survey": _survey, "plan": _plan, "pilot": _pilot}[asked.command](asked)
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pitboss.cli.floor", description=__doc__)
    parser.add_argument(
        "--state",
        type=Path,
        default=floor_folder(),
        help=f"folder of {HISTORY} and {PILOTS} (default: %(default)s)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    asked = commands.add_parser("survey", help="show every GPU and who uses it")
    _floor_argument(asked)
    asked.add_argument("--write", type=Path, metavar="FILE", help="write it as a survey file too")
    asked = commands.add_parser("plan", help="propose where the experiments may run")
    _floor_argument(asked)
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
    asked = commands.add_parser("pilot", help="keep the speeds of a study's finished parts")
    asked.add_argument("results", type=Path, metavar="FOLDER", help="the study's results folder")
    asked.add_argument("--kind", metavar="NAME", help="kind of GPU (default: this machine's)")
    return parser


def _floor_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--floor", type=Path, metavar="FILE", help="a survey file, instead of asking the driver"
    )


def _taken(asked: argparse.Namespace) -> tuple[Survey, dict[int, int] | None]:
    """The survey, and by how much tenants may grow; a real one is remembered."""
    if asked.floor is not None:
        return read_survey(asked.floor), None
    found = survey()
    remember(found, asked.state / HISTORY)
    return found, growths(found, asked.state / HISTORY)


def _survey(asked: argparse.Namespace) -> None:
    found, growth = _taken(asked)
    print(survey_table(found, growth))
    if asked.write is not None:
        write_survey(found, asked.write)


def _plan(asked: argparse.Namespace) -> None:
    found, growth = _taken(asked)
    share = None if asked.share is None else frozenset(asked.share)
    print(proposal_text(propose(found, _work(asked, found), growth, share), growth))


def _pilot(asked: argparse.Namespace) -> None:
    kind = asked.kind or _only_kind()
    for record in timed(Store.open(asked.results), kind):
        add_pilot(record, asked.state / PILOTS)
        print(f"{record.experiment} {record.model}: {record.units_per_second:.4g}/s on {kind}")


def _only_kind() -> str:
    kinds = sorted({gpu.name for gpu in survey().gpus})
    if len(kinds) != 1:
        raise BadInput(
            f"This machine has {', '.join(kinds) or 'no GPU'}.",
            next="Say with --kind on which the results were computed.",
        )
    return kinds[0]


def _work(asked: argparse.Namespace, found: Survey) -> Work:
    stated = None if asked.figures is None else read_stated(asked.figures)
    if asked.study is not None:
        kinds = [gpu.name for gpu in found.gpus]
        pilots = read_pilots(asked.state / PILOTS)
        return study_work(load_study(asked.study), kinds, pilots, stated)
    if stated is None:
        raise BadInput(
            "There is nothing to plan.",
            next="Name a study with --study, or a plan's figures with --figures.",
        )
    return stated.work()


if __name__ == "__main__":
    sys.exit(main())
