"""The command line: arguments in, a view or JSON out, an exit status for scripts.

0: done. 1: an error, said on standard error with what, where and what next. 2: the arguments are no
command. 3: the answer is "not complete" (status), "not comparable" (compare) or "cannot run here"
(check).
"""

import argparse
import json
import os
import sys
from typing import Any

from rich.console import Console, RenderableType

from pitboss import __version__
from pitboss.cli import commands, floor, studies
from pitboss.cli.answer import Answer
from pitboss.errors import PitbossError

# Wide enough for every table where nobody says how wide a line may be, as in a file or a pipe.
WIDTH_OF_A_PIPE = 160


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        answer: Answer = asked.run(asked)
    except PitbossError as error:
        _say_error(error, as_json=asked.json)
        return 1
    try:
        _show(answer, as_json=asked.json)
        sys.stdout.flush()
    except BrokenPipeError:  # as `pitboss ... | head` ends it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return answer.status


def _show(answer: Answer, *, as_json: bool) -> None:
    if answer.raw is not None:
        sys.stdout.buffer.write(answer.raw)
    elif as_json:
        print(json.dumps(answer.data, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(answer.view)


def _print(view: RenderableType) -> None:
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else WIDTH_OF_A_PIPE
    Console(width=width).print(view)


def _say_error(error: PitbossError, *, as_json: bool) -> None:
    if as_json:
        said: dict[str, Any] = {"error": error.what, "where": error.where, "next": error.next}
        print(json.dumps(said, ensure_ascii=False), file=sys.stderr)
        return
    print(f"pitboss: {error.what}", file=sys.stderr)
    for name, text in (("where", error.where), ("next", error.next)):
        if text:
            print(f"  {name}: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pitboss",
        description="Begin studies and look at them: what is done, what was found, and the data.",
        epilog="Exit status: 0 done, 1 error, 2 wrong arguments, 3 not so.",
    )
    parser.add_argument("--version", action="version", version=f"pitboss {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="for machines: JSON on standard output")
    shared.add_argument(
        "--results", metavar="FOLDER", help="folder of all results (default: PITBOSS_RESULTS)"
    )
    below = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    seen = argparse.ArgumentParser(add_help=False)
    seen.add_argument(
        "--of",
        metavar="EXPERIMENT",
        help="see this one of the study's experiments, not the first of its kind",
    )

    def command(name: str, text: str, run: Any, *more: Any) -> argparse.ArgumentParser:
        made = below.add_parser(name, help=text, description=text, parents=[shared, *more])
        made.set_defaults(run=run)
        return made

    asked = command("new", "A study file with the settings of another.", studies.new)
    asked.add_argument("name", help="the new study's name")
    asked.add_argument("--like", required=True, metavar="STUDY", help="a study file, such as demo")
    asked = command("check", "What a study would do; nothing starts.", studies.check)
    asked.add_argument("study", help="a study file, or its name in studies/")
    asked = command("run", "Carry out a study in this process, without a server.", studies.run)
    asked.add_argument("study", help="a study file, or its name in studies/")
    asked.add_argument("--only", metavar="NAME", help="one of its experiments")
    asked = command("status", "What is expected, done and left, from the store.", commands.status)
    asked.add_argument("study", nargs="?", help="a study's name; all studies if left out")
    asked = command("show", "One feature's card, with two responses.", commands.show, seen)
    asked.add_argument("study")
    asked.add_argument("feature", help="such as L3/F12")
    asked = command("effects", "What patching found, the strongest first.", commands.effects, seen)
    asked.add_argument("study")
    asked.add_argument("--causal", action="store_true", help="only features found causal")
    asked.add_argument("--layer", type=int, help="only this layer")
    asked.add_argument("--top", type=int, default=30, help="so many features (0: all; default: 30)")
    asked = command("games", "How the games ended, by condition.", commands.games, seen)
    asked.add_argument("study")
    asked = command(
        "export", "Write a table to the study's folder exports/.", commands.export, seen
    )
    asked.add_argument("study")
    asked.add_argument("kind", help="a table, such as effects; docs/schema.md lists all")
    asked.add_argument("--format", default="csv", choices=("csv", "parquet", "json"))
    asked.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="such as layer=3 or 'q<0.05' (= != < <= > >= ~); several must all hold",
    )
    asked.add_argument("--columns", metavar="A,B,...", help="only these columns")
    asked.add_argument("--out", metavar="NAME", help="the file's name; - for standard output")
    asked = command("schema", "What tables and columns mean.", commands.schema)
    asked.add_argument(
        "kind", nargs="?", help="a table; all, as docs/schema.md has them, if left out"
    )
    asked = command(
        "compare",
        "Two studies: settings, and rows and findings of the first experiment of each kind.",
        commands.compare,
    )
    asked.add_argument("a", metavar="STUDY_A")
    asked.add_argument("b", metavar="STUDY_B")
    floor.add_commands(below, shared)
    return parser
