"""transformers `generate_batch`: continuous batching over a paged cache.

It packs the tokens of all requests into one sequence, in an order that only its scheduler knows,
and replays it as a CUDA graph: a hook cannot tell whose token it sees. So it runs unpatched, which
is in its favour.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar

import torch
from transformers import GenerationConfig

from bench.programs.base import Answer, Program, Unavailable
from bench.programs.generate import sampling_options
from pitboss.engine import Request
from pitboss.engine.request import Mode

# On a GPU it sizes its cache by the free memory; on a CPU that would be the host's, and filling
# it takes longer than the run. Of the sizes tried with the shipped models, this was the fastest.
_CPU_CACHE = {"num_blocks": 4096, "max_batch_tokens": 256}
_CPU_PAGE = 32


class ContinuousBatching(Program):
    """transformers' own server loop, unpatched."""

    name = "generate_batch"
    title = "transformers generate_batch, unpatched"
    mode: ClassVar[Mode | None] = None
    batches: ClassVar = {"cuda": (512,), "cpu": (128,)}
    own_batches = True
    note = "It cannot patch row by row and runs unpatched, which is in its favour."

    def timed(self, rows: list[Request]) -> Callable[[], int]:
        return lambda: sum(len(tokens) for tokens, _ in self._call(rows))

    def answers(self, rows: list[Request]) -> dict[str, Answer]:
        made = self._call(rows, return_logprobs=True)
        return {
            row.key: Answer(tuple(tokens), torch.tensor(scores))
            for row, (tokens, scores) in zip(rows, made, strict=True)
        }

    def differs(self) -> str | None:
        if self.loaded.model.config.model_type == "gemma2":
            return "its paged attention leaves out Gemma 2's soft caps"
        return None

    def _call(self, rows: list[Request], **settings: Any) -> list[tuple[list[int], list[float]]]:
        try:
            from transformers.generation.configuration_utils import ContinuousBatchingConfig
        except ImportError as error:
            raise Unavailable("this transformers has no ContinuousBatchingConfig") from error
        if self.loaded.device.type == "cpu":
            # Transformers 5.17 calls a page a block.
            known = {field.name for field in fields(ContinuousBatchingConfig)}
            page = "page_size" if "page_size" in known else "block_size"
            settings |= _CPU_CACHE | {page: _CPU_PAGE}
        before = self.loaded.model.config._attn_implementation
        try:
            with _quiet():
                made = self.loaded.model.generate_batch(  # type: ignore[operator]
                    [list(row.prompt) for row in rows],
                    generation_config=GenerationConfig(**sampling_options(rows)),
                    continuous_batching_config=ContinuousBatchingConfig(**settings),
                )
        finally:
            self.loaded.model.set_attn_implementation(before)
        failed = [out.error for out in made.values() if out.error]
        if failed or len(made) != len(rows):
            raise RuntimeError(f"{len(rows) - len(made)} rows missing, errors: {failed[:1]}")
        return [(out.generated_tokens, out.logprobs) for out in made.values()]


@contextmanager
def _quiet() -> Iterator[None]:
    """Its log has a warning for each setting that is left to itself."""
    log = logging.getLogger("ContinuousBatchingLogger")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
