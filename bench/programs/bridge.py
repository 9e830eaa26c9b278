"""TransformerLens 3: `TransformerBridge.generate` over the same weights, all rows at once."""

import copy
import importlib.util
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from bench.programs.base import Answer, Program, Unavailable
from bench.programs.hooks import RowPatches
from pitboss.engine import Request
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer


class Bridge(Program):
    """The usual library for interventions, used with vectorised rows."""

    name = "bridge"
    title = "TransformerBridge generate, a hook for each row"
    batches: ClassVar = {"cuda": (256, 512), "cpu": (64, 128, 256, 512)}

    def __init__(self, loaded: LoadedModel, saes: dict[int, SaeLayer]) -> None:
        super().__init__(loaded, saes)
        if importlib.util.find_spec("transformer_lens") is None:
            raise Unavailable("the package transformer-lens is not installed")
        from transformer_lens.model_bridge import TransformerBridge

        self._bridge = TransformerBridge.boot_transformers(
            loaded.spec.id,
            hf_model=_same_weights(loaded.model),
            tokenizer=copy.deepcopy(loaded.tokenizer),  # it gives its tokenizer other tokens
            device=loaded.device,
            dtype=loaded.dtype,
        )

    def timed(self, rows: list[Request]) -> Callable[[], int]:
        call = self._call(rows)

        def run() -> int:
            made = call()
            return int(made.shape[0] * (made.shape[1] - len(rows[0].prompt)))

        return run

    def answers(self, rows: list[Request]) -> dict[str, Answer]:
        made = self._call(rows, output_logits=True)()
        logits = torch.stack(list(made.logits), dim=1).float().cpu()
        tokens = made.sequences[:, len(rows[0].prompt) :].tolist()
        return {row.key: Answer(tuple(tokens[i]), logits[i]) for i, row in enumerate(rows)}

    def _call(self, rows: list[Request], **more: Any) -> Callable[[], Any]:
        patches = RowPatches(rows, self.loaded.device)
        ids = torch.tensor([row.prompt for row in rows], device=self.loaded.device)
        s = rows[0].sampling
        drawn = {"temperature": s.temperature, "top_k": s.top_k or None, "top_p": s.top_p}
        options: dict[str, Any] = drawn if s.temperature else {}
        options |= {"do_sample": s.temperature > 0, "max_new_tokens": s.max_new_tokens}

        def hook(layer: int) -> Callable[..., torch.Tensor]:
            def patch(x: torch.Tensor, hook: object) -> torch.Tensor:
                return patches.apply(layer, x)

            return patch

        hooks = [(f"blocks.{layer}.hook_out", hook(layer)) for layer in patches.layers()]

        def call() -> Any:
            with self._bridge.hooks(fwd_hooks=hooks), torch.inference_mode():
                return self._bridge.generate(
                    ids, stop_at_eos=False, return_type="tokens", verbose=False, **options, **more
                )

        return call


def _same_weights(model: torch.nn.Module) -> Any:
    """A second model around the same tensors: the bridge rebuilds the modules it is given."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
