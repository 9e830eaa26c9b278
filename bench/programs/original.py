"""The original study's algorithm, written anew from its description.

One row at a time. A hook on the patched block encodes the last token of the block's output with
the whole SAE, sets one feature, decodes with the whole SAE and puts the reconstruction in the
token's place, at every forward pass: the prompt's last token and each generated one. Encoder and
decoder are float32, the gate is ReLU, as the original loaded them. Two things are in its favour:
its dictionary is resident here (it looked it up in a cache on each call), and `generate` uses its
key-value cache (one of the original's versions recomputed the whole text for every token).

Source: https://github.com/iamseungpil/llm-addiction,
`experiment_2_multilayer_patching_L1_31/experiment_2_L1_31_top300.py` at 180ff23.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from bench.programs.base import Answer, Program
from bench.programs.generate import sampling_options
from pitboss.engine import Request
from pitboss.engine.request import Mode
from pitboss.models.hooks import blocks


class Original(Program):
    """Batch 1, the whole SAE at every token."""

    name = "original"
    title = "the original's algorithm, batch 1"
    mode: ClassVar[Mode | None] = "reconstruct"
    batches: ClassVar = {"cuda": (1,), "cpu": (1,)}
    own_batches = True

    def timed(self, rows: list[Request]) -> Callable[[], int]:
        def run() -> int:
            return sum(self._one(row).shape[1] - len(row.prompt) for row in rows)

        return run

    def answers(self, rows: list[Request]) -> dict[str, Answer]:
        found = {}
        for row in rows:
            made = self._one(row, output_logits=True, return_dict_in_generate=True)
            tokens = made.sequences[0, len(row.prompt) :].tolist()
            found[row.key] = Answer(tuple(tokens), torch.cat(made.logits).float().cpu())
        return found

    def _one(self, row: Request, **more: Any) -> Any:
        (patch,) = row.patches
        ids = torch.tensor([row.prompt], device=self.loaded.device)
        block = blocks(self.loaded)[patch.layer]
        handle = block.register_forward_hook(self._hook(row))
        try:
            with torch.inference_mode():
                return self.loaded.model.generate(  # type: ignore[operator]
                    ids, attention_mask=torch.ones_like(ids), **sampling_options([row]) | more
                )
        finally:
            handle.remove()

    def _hook(self, row: Request) -> Callable[..., torch.Tensor]:
        (patch,) = row.patches
        sae, value = self.saes[patch.layer], patch.value
        assert value is not None

        def replace(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
            features = torch.relu(output[:, -1].float() @ sae.W_enc + sae.shift)
            features[:, patch.feature] = value
            output[:, -1] = (features @ sae.W_dec + sae.b_dec).to(output.dtype)
            return output

        return replace
