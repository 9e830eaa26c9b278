"""Our engine, through its public interface."""

from collections.abc import Callable
from typing import Any, ClassVar

from bench.programs.base import Answer, Program
from pitboss.engine import Engine, EngineConfig, Request
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer


class Ours(Program):
    """The engine of `pitboss.engine`; `options` go to `EngineConfig` as they are."""

    name = "ours"
    title = "Pitboss engine"
    batches: ClassVar = {"cuda": (2048,), "cpu": (512,)}

    def __init__(
        self, loaded: LoadedModel, saes: dict[int, SaeLayer], width: int, **options: Any
    ) -> None:
        super().__init__(loaded, saes)
        self.width, self.options = width, options

    def engine(
        self, rows: list[Request], saes: dict[int, SaeLayer] | None = None, **options: Any
    ) -> Engine:
        """An engine that these rows fit in, their prompts shared."""
        config = EngineConfig(
            width=self.width,
            prompt_capacity=max(len(row.prompt) for row in rows),
            token_capacity=max(row.sampling.max_new_tokens for row in rows),
            **{"prefixes": len({row.prompt for row in rows})} | self.options | options,
        )
        return Engine(self.loaded, config, seed=1, saes=saes)

    def timed(self, rows: list[Request]) -> Callable[[], int]:
        engine = self.engine(rows)
        return lambda: sum(len(g.tokens) for g in engine.run(rows))

    def answers(self, rows: list[Request]) -> dict[str, Answer]:
        engine = self.engine(rows, self.saes, keep_logits=True)
        found = {}
        for g in engine.run(rows):
            assert g.logits is not None
            found[g.key] = Answer(g.tokens, g.logits.float().cpu())
        return found
