"""What a run of the benchmark is told; the command line's defaults by device."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.machine import default_device
from bench.shapes import SHAPES


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes of every section; see the command line's help for each."""

    shape: str
    device: torch.device
    width: int
    rows: int
    chunk: int
    games: int
    seconds: float = 60.0
    prompt_tokens: int = 150
    new_tokens: int = 100
    repeat: int = 3
    at_most: float = 60.0
    dtype: str | None = None
    only: tuple[str, ...] | None = None
    batches: tuple[int, ...] | None = None
    agreement: bool = True
    whole: bool = False
    screen_width: int = 4096
    slots: int | None = None
    rounds: int | None = None
    engine: dict[str, Any] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings as command-line options."""
    cuda = torch.cuda.is_available()
    add = parser.add_argument
    add("--shape", choices=sorted(SHAPES), default="llama-8b" if cuda else "lab-llama")
    add("--device", type=torch.device, default=default_device())
    add("--dtype", choices=("float32", "bfloat16"), help="of the weights")
    add("--quick", action="store_true", help="small sizes, for a look at whether all of it runs")
    add(
        "--out",
        type=Path,
        help="result file (default: bench/results/[quick/]<device>-<shape>.json)",
    )
    add("--commit", help="what to record where the tree was copied without its repository")
    add("--threads", type=int, help="of the CPU (default: torch's own choice)")
    add("--width", type=int, help="rows of the engine's matrix products")
    add("--micro-batches", type=int, help="the engine's batches that take turns")
    add("--eager", action="store_true", help="the engine's plain path, without compilation")
    add("--rows", type=int, help="decode: rows of our run (default: 4 x width)")
    add("--prompt-tokens", type=int, default=150)
    add("--new-tokens", type=int, help="decode: new tokens of a row (100)")
    add("--repeat", type=int, help="decode: timed runs of each program, the median counts")
    add("--at-most", type=float, help="decode: seconds after which a program is not repeated")
    add("--only", nargs="*", help="decode: names of the alternatives to run, none for ours alone")
    add("--batches", type=int, nargs="+", help="decode: batch sizes of generate and bridge")
    add("--no-agreement", action="store_true", help="decode: time without comparing first")
    add("--seconds", type=float, help="exp2: shortest measured run")
    add("--chunk", type=int, help="exp2: features in one run of the engine")
    add("--games", type=int, help="games: games played")
    add(
        "--rounds",
        type=int,
        help="games: most rounds played of each (default: all)",
    )
    add("--slots", type=int, help="games: rows in flight (default: as the memory allows)")
    add("--screen-width", type=int, help="screening: rows of a batch (4096; on a CPU 512)")
    add("--whole", action="store_true", help="screening: every feature of every layer too")


def settings_of(args: argparse.Namespace) -> Settings:
    """Settings from the command line: full sizes on a GPU, smaller ones on a CPU."""
    cuda = args.device.type == "cuda"
    quick, full = (512, 2048) if cuda else (256, 512)
    width = args.width or (quick if args.quick else full)
    engine: dict[str, Any] = {}
    if args.micro_batches:
        engine["micro_batches"] = args.micro_batches
    if args.eager:
        engine["fast"] = False
    sizes: dict[str, Any] = {
        "rows": args.rows or (width if args.quick else 4 * width),
        "chunk": args.chunk or (100 if cuda else 3 if args.quick else 16),
        "games": args.games or (512 if cuda else 32) * (1 if args.quick else 4),
        "rounds": args.rounds or (1 if args.quick else None if cuda else 2),
        "seconds": args.seconds or (8.0 if args.quick else 60.0 if cuda else 20.0),
        "new_tokens": args.new_tokens or (24 if args.quick else 100),
        "repeat": args.repeat or (2 if args.quick else 3),
        "at_most": args.at_most or (8.0 if args.quick else 60.0),
    }
    return Settings(
        shape=args.shape,
        device=args.device,
        width=width,
        prompt_tokens=args.prompt_tokens,
        dtype=args.dtype,
        only=_tuple(args.only),
        batches=_tuple(args.batches),
        agreement=not args.no_agreement,
        whole=args.whole or not cuda,
        screen_width=args.screen_width or (4096 if cuda else 512),
        slots=args.slots,
        engine=engine,
        **sizes,
    )


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
