"""transformers `generate` with hooks that patch each row of the batch by itself."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from bench.programs.base import Answer, Program
from bench.programs.hooks import RowPatches, patched
from pitboss.engine import Request
from pitboss.models.hooks import blocks


class Generate(Program):
    """What a careful user of transformers would write."""

    name = "generate"
    title = "transformers generate, a hook for each row"
    batches: ClassVar = {"cuda": (256, 512, 1024), "cpu": (64, 128, 256, 512)}

    def timed(self, rows: list[Request]) -> Callable[[], int]:
        call = self._call(rows)

        def run() -> int:
            made = call()
            return int(made.shape[0] * (made.shape[1] - len(rows[0].prompt)))

        return run

    def answers(self, rows: list[Request]) -> dict[str, Answer]:
        made = self._call(rows, output_logits=True, return_dict_in_generate=True)()
        logits = torch.stack(made.logits, dim=1).float().cpu()
        tokens = made.sequences[:, len(rows[0].prompt) :].tolist()
        return {row.key: Answer(tuple(tokens[i]), logits[i]) for i, row in enumerate(rows)}

    def _call(self, rows: list[Request], **more: Any) -> Callable[[], Any]:
        device = self.loaded.device
        patches = RowPatches(rows, device)
        ids = torch.tensor([row.prompt for row in rows], device=device)
        seen = torch.ones_like(ids)
        options = sampling_options(rows) | more

        def call() -> Any:
            with patched(blocks(self.loaded), patches), torch.inference_mode():
                return self.loaded.model.generate(  # type: ignore[operator]
                    ids, attention_mask=seen, **options
                )

        return call


def sampling_options(rows: list[Request]) -> dict[str, Any]:
    """A row's sampling in the words of transformers; all rows have the same."""
    s = rows[0].sampling
    assert all(row.sampling == s for row in rows)
    length = {
        "max_new_tokens": s.max_new_tokens,
        "min_new_tokens": s.min_new_tokens,
        "pad_token_id": 0,
    }
    if s.temperature == 0:
        return length | {"do_sample": False}
    drawn = {"temperature": s.temperature, "top_k": s.top_k, "top_p": s.top_p}
    return length | {"do_sample": True} | drawn
