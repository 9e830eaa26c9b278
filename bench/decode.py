"""Section `decode`: sampled, patched generation, ours against the alternatives, in one run.

Every row has a prompt of 150 tokens (one of two), makes 100 new ones, and carries a patch with
vectors, block and value of its own. First all programs must agree; then each is warmed up and
timed, each batch size apart, and the median of its repeats counts. The prompts' prefill is part of
the time, as it is part of a run. At last ours and the best of the others take turns, because a
machine that others use, or that grows hot, is not equally fast for minutes.
"""

from collections.abc import Callable
from typing import Any

from bench.check import agreement, disagree, one_sae, programs
from bench.clock import Timing, measure, measure_in_turn, rounded
from bench.guard import forget_peak, free, peak, recorded
from bench.limit import Limit, measure_limit
from bench.programs import Ours, Program
from bench.settings import Settings
from bench.work import rows_of, sampled
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer


def decode(loaded: LoadedModel, settings: Settings) -> dict[str, Any]:
    """All figures of the section; its `failed` says whether the programs disagree."""
    others, saes = programs(settings), one_sae(loaded)
    limit = measure_limit(loaded.model, loaded.device, loaded.dtype)
    figures: dict[str, Any] = {
        "prompt_tokens": settings.prompt_tokens,
        "new_tokens": settings.new_tokens,
        "limit": limit.figures(),
    }
    if settings.agreement:
        figures["agreement"] = agreement(loaded, saes, others, settings)
        free()
    figures["ours"] = measure_ours(loaded, settings, limit)
    free()
    figures["alternatives"] = {
        kind.name: measure_alternative(kind, loaded, saes, settings, limit) for kind in others
    }
    if fastest := best(figures["alternatives"]):
        kind = next(kind for kind in others if kind.name == fastest["name"])
        turns: dict[str, Any] = {}
        with recorded(turns, "in_turn"):  # both at once may not fit the device
            turns["in_turn"] = in_turn(kind, fastest["batch"], loaded, saes, settings)
        free()
        figures |= {"best_alternative": fastest, **turns}
        figures["times_best_alternative"] = _times(figures)
    figures["failed"] = disagree(figures.get("agreement", {}))
    return figures


def measure_ours(loaded: LoadedModel, settings: Settings, limit: Limit) -> dict[str, Any]:
    """Our engine at its width, refilling its slots until all rows are done."""
    forget_peak(loaded.device)
    run = _ours(loaded, settings)
    timing = measure(run, loaded.device, repeat=settings.repeat, at_most=settings.at_most)
    return {
        "title": Ours.title,
        "width": settings.width,
        "engine": settings.engine,
        "rows": settings.rows,
        **_speed(timing, limit, settings),
        **peak(loaded.device),
    }


def measure_alternative(
    kind: type[Program],
    loaded: LoadedModel,
    saes: dict[int, SaeLayer],
    settings: Settings,
    limit: Limit,
) -> dict[str, Any]:
    """One program at each of its batch sizes; the fastest of them stands for it."""
    tried: dict[str, Any] = {}
    for batch in _batches(kind, settings):
        with recorded(tried, str(batch)):
            tried[str(batch)] = _one_batch(kind, batch, loaded, saes, settings, limit)
        free()
    done = [one for one in tried.values() if "error" not in one]
    fastest: dict[str, Any] = max(done, key=lambda one: float(one["tokens_per_second"]), default={})
    note = {"note": kind.note} if kind.note else {}
    return {"title": kind.title, **note, **fastest, "batches": tried}


def _batches(kind: type[Program], settings: Settings) -> tuple[int, ...]:
    own = kind.batches[settings.device.type]
    return own if kind.own_batches or settings.batches is None else settings.batches


def _one_batch(
    kind: type[Program],
    batch: int,
    loaded: LoadedModel,
    saes: dict[int, SaeLayer],
    settings: Settings,
    limit: Limit,
) -> dict[str, Any]:
    forget_peak(loaded.device)
    run = _theirs(kind, batch, loaded, saes, settings)
    timing = measure(run, loaded.device, repeat=settings.repeat, at_most=settings.at_most)
    return {"batch": batch, **_speed(timing, limit, settings), **peak(loaded.device)}


def in_turn(
    kind: type[Program],
    batch: int,
    loaded: LoadedModel,
    saes: dict[int, SaeLayer],
    settings: Settings,
) -> dict[str, Any]:
    """Ours and an alternative, one call each again and again: the ratio of their medians."""
    runs = {
        "ours": _ours(loaded, settings),
        kind.name: _theirs(kind, batch, loaded, saes, settings),
    }
    timings = measure_in_turn(runs, loaded.device, repeat=settings.repeat)
    figures = {name: timing.figures("tokens_per_second") for name, timing in timings.items()}
    return {**figures, "times": rounded(timings["ours"].rate / timings[kind.name].rate, 3)}


def _ours(loaded: LoadedModel, settings: Settings) -> Callable[[], int]:
    """All rows through our engine, once it has compiled and every length was filled."""
    new = sampled(settings.new_tokens)
    rows = rows_of(loaded, settings.rows, new, prompt_tokens=settings.prompt_tokens)
    engine = Ours(loaded, {}, settings.width, **settings.engine).engine(rows)
    engine.run(rows[: 2 * settings.width])
    return lambda: sum(len(g.tokens) for g in engine.run(rows))


def _theirs(
    kind: type[Program],
    batch: int,
    loaded: LoadedModel,
    saes: dict[int, SaeLayer],
    settings: Settings,
) -> Callable[[], int]:
    """One batch through an alternative, which was warmed up."""
    work: dict[str, Any] = {
        "prompt_tokens": settings.prompt_tokens,
        "mode": kind.mode,
        "layer": next(iter(saes)) if kind.mode == "reconstruct" else None,
    }
    program = kind(loaded, saes)
    # These programs compile nothing for a length: a few tokens warm them up.
    program.timed(rows_of(loaded, batch, sampled(min(8, settings.new_tokens)), **work))()
    return program.timed(rows_of(loaded, batch, sampled(settings.new_tokens), **work))


def best(alternatives: dict[str, Any]) -> dict[str, Any] | None:
    """The fastest alternative that ran."""
    done = [
        {"name": name, "batch": one["batch"], "tokens_per_second": one["tokens_per_second"]}
        for name, one in alternatives.items()
        if "tokens_per_second" in one
    ]
    return max(done, key=lambda one: one["tokens_per_second"], default=None)


def _times(figures: dict[str, Any]) -> float:
    """Ours over the best alternative: in turn, or one after the other where both do not fit."""
    if "times" in figures["in_turn"]:
        return float(figures["in_turn"]["times"])
    ours, best_one = figures["ours"], figures["best_alternative"]
    return rounded(ours["tokens_per_second"] / best_one["tokens_per_second"], 3)


def _speed(timing: Timing, limit: Limit, settings: Settings) -> dict[str, Any]:
    return {
        **timing.figures("tokens_per_second"),
        "runs_per_second": rounded(timing.rate / settings.new_tokens),
        "seconds_per_run": rounded(settings.new_tokens / timing.rate),
        "share_of_limit": rounded(limit.share(timing.rate), 3),
    }
