"""Section `exp2`: minutes of the plan's patching experiment, from a measured run.

The work is Exp2's own: chunks of 100 features of one layer, each patched to two values in two
prompts with 20 trials, one run of the engine a chunk. It goes on for at least a minute, once with
all 100 tokens of every row, once with rows that end as soon as their decision is certain, after as
many tokens as in real responses. Only whole chunks are counted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from bench.clock import rounded, synchronise
from bench.programs import Ours
from bench.responses import decided_after, quantile, spread
from bench.settings import Settings
from bench.work import patches_of, prompts_of, sampled
from pitboss.engine import Engine, Request
from pitboss.games.prompts import render
from pitboss.games.reading import reader
from pitboss.models.loading import LoadedModel

SCENES = ("risky", "safe")
FEATURES, VALUES, TRIALS, TOKENS = 9_300, 2, 20, 100
"""Of the plan: 31 layers x 300 features, safe and risky mean, 20 trials, 100 tokens; the third
value, the baseline, is drawn once for all features."""


def total_runs(features: int = FEATURES) -> int:
    """Runs of the whole experiment with the baseline drawn once for each prompt."""
    each_prompt = len(SCENES) * TRIALS
    return features * VALUES * each_prompt + each_prompt


def projected_minutes(runs: int, runs_per_second: float) -> float:
    """Minutes for so many runs at a measured rate."""
    return runs / runs_per_second / 60


@dataclass(frozen=True)
class Measured:
    """What a measured stretch of work did."""

    chunks: int
    runs: int
    tokens: int
    seconds: float


def exp2(loaded: LoadedModel, settings: Settings) -> dict[str, Any]:
    """Full responses for at least `settings.seconds`, then early ends for a third of that."""
    work = Chunks(loaded, settings)
    program = Ours(loaded, {}, settings.width, **settings.engine)
    engine = program.engine(work.rows(0, early=False))
    return {
        "features_per_chunk": settings.chunk,
        "runs_per_chunk": len(work.rows(0, early=False)),
        "width": settings.width,
        "new_tokens": TOKENS,
        "total_runs": total_runs(),
        "full_responses": _figures(run_for(engine, work, settings.seconds, early=False)),
        "early_ends": _figures(run_for(engine, work, settings.seconds / 3, early=True)),
        "decision_certain_after_tokens": {
            scene: dict(sorted(counts.items())) for scene, counts in decided_after().items()
        },
    }


class Chunks:
    """The rows of one chunk after another; every feature of every chunk is another one."""

    def __init__(self, loaded: LoadedModel, settings: Settings) -> None:
        self.loaded, self.settings = loaded, settings
        self.prompts = prompts_of(loaded, len(SCENES), settings.prompt_tokens)

    def rows(self, chunk: int, *, early: bool) -> list[Request]:
        """Features x prompts x values x trials, a trial's noise shared by all arms."""
        s, made = self.settings, []
        layer = (1 + 7 * chunk) % self.loaded.spec.n_layers
        numbered = count()
        for scene, prompt in zip(SCENES, self.prompts, strict=True):
            for patch in patches_of(self.loaded, s.chunk, layer=layer, values=VALUES, seed=chunk):
                for trial in range(TRIALS):
                    i = next(numbered)
                    made.append(
                        Request(
                            key=f"{chunk}/{i}",
                            prompt=prompt,
                            noise=f"{scene}/{trial:03d}",
                            sampling=sampled(TOKENS),
                            patches=(patch,),
                            ends=self._ends(scene, i) if early else None,
                        )
                    )
        return made

    def _ends(self, scene: str, i: int) -> Callable[[str], bool]:
        """Asks the study's reader, as Exp2 does, but ends after a real response's tokens."""
        last = quantile(decided_after()[scene], spread(i))
        read, menu, tokens = reader("menu"), render(f"exp2/{scene}").menu, count(1)

        def ends(text: str) -> bool:
            read.decided(text, menu)
            return next(tokens) >= last

        return ends


def run_for(engine: Engine, work: Chunks, least: float, *, early: bool) -> Measured:
    """Whole chunks, one after another, until so many seconds have passed; building their rows is
    included."""
    engine.run(work.rows(0, early=early)[: 2 * work.settings.width])  # compiles
    device, chunks, runs, tokens = work.settings.device, 0, 0, 0
    synchronise(device)
    began = time.perf_counter()
    while not chunks or time.perf_counter() - began < least:
        chunks += 1
        made = engine.run(work.rows(chunks, early=early))
        runs += len(made)
        tokens += sum(len(g.tokens) for g in made)
    synchronise(device)
    return Measured(chunks, runs, tokens, time.perf_counter() - began)


def _figures(measured: Measured) -> dict[str, Any]:
    rate = measured.runs / measured.seconds
    return {
        "chunks": measured.chunks,
        "runs": measured.runs,
        "seconds": rounded(measured.seconds),
        "runs_per_second": rounded(rate),
        "tokens_per_second": rounded(measured.tokens / measured.seconds),
        "tokens_per_run": rounded(measured.tokens / measured.runs),
        "projected_minutes": rounded(projected_minutes(total_runs(), rate)),
    }
