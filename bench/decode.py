"""Section `decode`: sampled, patched generation, ours against the alternatives, in one run.

Every row has a prompt of 150 tokens (one of two), makes 100 new ones, and carries a patch with
vectors, block and value of its own. First all programs must agree; then each is warmed up and
timed, each batch size apart, and the median of its repeats counts. The prompts' prefill is part of
the time, as it is part of a run.
"""

from typing import Any

from bench.check import agreement, disagree, one_sae, programs
from bench.clock import Timing, measure, rounded
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
        times = figures["ours"]["tokens_per_second"] / fastest["tokens_per_second"]
        figures["best_alternative"] = fastest
        figures["times_best_alternative"] = rounded(times, 3)
    figures["failed"] = disagree(figures.get("agreement", {}))
    return figures


def measure_ours(loaded: LoadedModel, settings: Settings, limit: Limit) -> dict[str, Any]:
    """Our engine at its width, refilling its slots until all rows are done."""
    program = Ours(loaded, {}, settings.width, **settings.engine)
    new = sampled(settings.new_tokens)
    rows = rows_of(loaded, settings.rows, new, prompt_tokens=settings.prompt_tokens)
    forget_peak(loaded.device)
    engine = program.engine(rows)
    engine.run(rows[: 2 * settings.width])  # compiles, and fills every length once
    timing = measure(
        lambda: sum(len(g.tokens) for g in engine.run(rows)),
        loaded.device,
        repeat=settings.repeat,
        at_most=settings.at_most,
    )
    return {
        "title": program.title,
        "width": settings.width,
        "engine": settings.engine,
        "rows": len(rows),
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
    work: dict[str, Any] = {
        "prompt_tokens": settings.prompt_tokens,
        "mode": kind.mode,
        "layer": next(iter(saes)) if kind.mode == "reconstruct" else None,
    }
    forget_peak(loaded.device)
    program = kind(loaded, saes)
    # These programs compile nothing for a length: a few tokens warm them up.
    program.timed(rows_of(loaded, batch, sampled(min(8, settings.new_tokens)), **work))()
    run = program.timed(rows_of(loaded, batch, sampled(settings.new_tokens), **work))
    timing = measure(run, loaded.device, repeat=settings.repeat, at_most=settings.at_most)
    return {"batch": batch, **_speed(timing, limit, settings), **peak(loaded.device)}


def best(alternatives: dict[str, Any]) -> dict[str, Any] | None:
    """The fastest alternative that ran."""
    done = [
        {"name": name, "batch": one["batch"], "tokens_per_second": one["tokens_per_second"]}
        for name, one in alternatives.items()
        if "tokens_per_second" in one
    ]
    return max(done, key=lambda one: one["tokens_per_second"], default=None)


def _speed(timing: Timing, limit: Limit, settings: Settings) -> dict[str, Any]:
    return {
        **timing.figures("tokens_per_second"),
        "runs_per_second": rounded(timing.rate / settings.new_tokens),
        "seconds_per_run": rounded(settings.new_tokens / timing.rate),
        "share_of_limit": rounded(limit.share(timing.rate), 3),
    }
