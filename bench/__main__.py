"""`python -m bench SECTION`: measure, and keep the figures in a result file."""

import argparse
import json
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench import machine, results
from bench.check import check
from bench.decode import decode
from bench.exp2 import exp2
from bench.games import games
from bench.guard import free
from bench.plot import plot
from bench.precision import precision
from bench.screening import screening
from bench.settings import Settings, add_arguments, settings_of
from bench.shapes import load_shape
from bench.startup import startup
from pitboss.models.loading import LoadedModel

Section = Callable[[LoadedModel, Settings], dict[str, Any]]

SECTIONS: dict[str, Section] = {
    "decode": decode,
    "exp2": exp2,
    "games": games,
    "screening": screening,
    "precision": precision,
    "startup": startup,
    "agreement": check,
}


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status, 1 when programs disagree or a section failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(dest="section", required=True)
    for name in ("all", *SECTIONS):
        add_arguments(commands.add_parser(name))
    drawing = commands.add_parser("plot")
    drawing.add_argument("files", nargs="+", type=Path, help="result files, one panel each")
    drawing.add_argument("--out", type=Path, help="picture (default: beside the first file)")
    args = parser.parse_args(arguments)
    if args.section == "plot":
        draw(args.files, args.out)
        return 0
    return measure(args, shlex.join(["python", "-m", "bench", *arguments]))


def measure(args: argparse.Namespace, command: str) -> int:
    """Run the sections asked for; each is kept as soon as it is done."""
    if args.threads:
        torch.set_num_threads(args.threads)
    settings = settings_of(args)
    name = machine.device_name(settings.device)
    out: Path = args.out or results.default_file(name, settings.shape, quick=args.quick)
    loaded = load_shape(settings.shape, settings.device, settings.dtype)
    failed = []
    whole = [section for section in SECTIONS if section != "agreement"]  # decode begins with it
    for section in whole if args.section == "all" else [args.section]:
        print(f"-- {section}: {settings.shape} on {name}", flush=True)
        try:
            figures = SECTIONS[section](loaded, settings)
        except Exception as error:  # the other sections' figures are still worth having
            traceback.print_exc()
            figures = {"error": f"{type(error).__name__}: {error}"[:500], "failed": True}
        free()
        told = (
            machine.facts(settings.device, command, args.commit) | {"quick": args.quick} | figures
        )
        results.write_section(out, settings.shape, name, section, told)
        print(json.dumps(figures, indent=1, ensure_ascii=False), flush=True)
        if figures.get("failed"):
            failed.append(section)
    print(f"written: {out}")
    if args.section == "all" and "decode" not in failed:
        draw([out], None)
    if failed:
        print(f"FAILED: {', '.join(failed)} (see above)", file=sys.stderr)
    return int(bool(failed))


def draw(files: list[Path], out: Path | None) -> None:
    """The picture of these result files."""
    place = out or files[0].with_suffix(".png")
    plot(files, place)
    print(f"written: {place}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
