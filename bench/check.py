"""Section `agreement`: every program generates a few rows greedily and is held against ours.

`decode` begins with it; by itself it serves where nothing is to be timed, such as with float32
weights of a real shape.
"""

from collections.abc import Sequence
from typing import Any

import torch

from bench.agreement import Agreement, compare_bfloat16, compare_float32
from bench.guard import free, recorded
from bench.programs import ALTERNATIVES, Answer, Ours, Program
from bench.reference import float32_copy, reference
from bench.saes import random_sae
from bench.settings import Settings
from bench.work import greedy, rows_of
from pitboss.engine import Request
from pitboss.engine.request import Mode
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer

ROWS, TOKENS = 6, 8

Saes = dict[int, SaeLayer]
Answers = dict[str, Answer]


def check(loaded: LoadedModel, settings: Settings) -> dict[str, Any]:
    """The section by itself; its `failed` says whether the programs disagree."""
    found = agreement(loaded, one_sae(loaded), programs(settings), settings)
    return {"agreement": found, "failed": disagree(found)}


def programs(settings: Settings) -> list[type[Program]]:
    """The alternatives that are asked for."""
    only = settings.only
    return [kind for kind in ALTERNATIVES if only is None or kind.name in only]


def one_sae(loaded: LoadedModel) -> Saes:
    """The dictionary of a block in the middle, for programs that reconstruct."""
    layer = loaded.spec.n_layers // 2
    return {layer: random_sae(loaded, layer)}


def agreement(
    loaded: LoadedModel, saes: Saes, others: Sequence[type[Program]], settings: Settings
) -> dict[str, Any]:
    """Ours against each program, by its name; one that cannot run is listed with its error.

    Programs that patch differently are compared on rows of their own: with the original's
    reconstruction in all of them, or unpatched.
    """
    rows = {kind.mode: _rows(loaded, saes, kind.mode, settings) for kind in others}
    ours: dict[Mode | None, Answers] = {}
    for mode, some in rows.items():
        ours[mode] = Ours(loaded, saes, settings.width, **settings.engine).answers(some)
        free()
    found: dict[str, Any] = {}
    theirs: dict[str, tuple[type[Program], Answers, str | None]] = {}
    for kind in others:
        with recorded(found, kind.name):
            program = kind(loaded, saes)
            theirs[kind.name] = kind, program.answers(rows[kind.mode]), program.differs()
        free()
    if loaded.dtype == torch.float32:
        held = {
            name: compare_float32(ours[kind.mode], answers, known)
            for name, (kind, answers, known) in theirs.items()
        }
    else:
        held = _against_float32(loaded, saes, rows, ours, theirs)
    return found | {name: one.figures() for name, one in held.items()}


def disagree(found: dict[str, Any]) -> bool:
    """Whether any program that ran fails the comparison for no known reason."""
    return any(not one["ok"] and "known" not in one for one in found.values() if "ok" in one)


def _rows(loaded: LoadedModel, saes: Saes, mode: Mode | None, settings: Settings) -> list[Request]:
    layer = next(iter(saes)) if mode == "reconstruct" else None
    return rows_of(
        loaded, ROWS, greedy(TOKENS), prompt_tokens=settings.prompt_tokens, mode=mode, layer=layer
    )


def _against_float32(
    loaded: LoadedModel,
    saes: Saes,
    rows: dict[Mode | None, list[Request]],
    ours: dict[Mode | None, Answers],
    theirs: dict[str, tuple[type[Program], Answers, str | None]],
) -> dict[str, Agreement]:
    exact = float32_copy(loaded)

    def plain(row: Request, tokens: tuple[int, ...]) -> torch.Tensor:
        return reference(exact, saes, row, tokens)

    return {
        name: compare_bfloat16(rows[kind.mode], ours[kind.mode], answers, plain, known)
        for name, (kind, answers, known) in theirs.items()
    }
