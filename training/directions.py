"""Which direction of a layer's residual stream means "stop", and what a push along one does.

Only the last prompt token of the two Exp2 prompts matters here: the very next token, "1" or "2",
is the decision.
"""

import copy

import torch
from torch import Tensor
from transformers import DynamicCache

from pitboss.games.prompts import render
from pitboss.models.loading import LoadedModel
from training.player import TEMPERATURE, TOP_K

SCENES = ("exp2/safe", "exp2/risky")


class DecisionPoint:
    """One Exp2 prompt, everything before its last token computed once.

    Attributes:
        states: [layers, d], residual stream at the last prompt token.
        gradients: [layers, d], d (logit of stop - logit of bet) / d state.
    """

    def __init__(self, loaded: LoadedModel, name: str) -> None:
        self._model = loaded.model
        self._blocks = loaded.model.model.layers
        self.bet_id, self.stop_id = (
            loaded.tokenizer.convert_tokens_to_ids(option) for option in ("1", "2")
        )
        *before, last = loaded.encode(render(name).text)
        self._last = torch.tensor([[last]])
        self._prefix = DynamicCache(config=loaded.model.config)
        with torch.no_grad():
            self._model(input_ids=torch.tensor([before]), cache=self._prefix)
        self.states, self.gradients = self._probe()

    def decision(self, layer: int, pushes: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of sampling stop and of sampling bet as the next token.

        Args:
            layer: Block after which the push is added.
            pushes: [k, d], one vector per computed row.

        Returns:
            P(stop) [k], P(bet) [k] at the study's temperature and top-k.
        """
        with torch.no_grad():
            logits = self._forward(layer, pushes) / TEMPERATURE
        cut = logits.topk(TOP_K).values[:, -1:]
        p = logits.masked_fill(logits < cut, -torch.inf).softmax(-1)
        return p[:, self.stop_id], p[:, self.bet_id]

    def _forward(self, layer: int, pushes: Tensor) -> Tensor:
        """Logits [k, vocabulary] after the last prompt token."""
        cache = copy.deepcopy(self._prefix)
        cache.batch_repeat_interleave(len(pushes))
        handle = self._blocks[layer].register_forward_hook(
            lambda _module, _args, output: output + pushes[:, None]
        )
        try:
            ids = self._last.expand(len(pushes), 1)
            logits: Tensor = self._model(input_ids=ids, cache=cache).logits[:, -1]
        finally:
            handle.remove()
        return logits

    def _probe(self) -> tuple[Tensor, Tensor]:
        states, gradients = [], []
        for layer, block in enumerate(self._blocks):
            seen: list[Tensor] = []
            handle = block.register_forward_hook(
                lambda _module, _args, output, seen=seen: seen.append(output[0, -1].detach())
            )
            push = torch.zeros(1, self._model.config.hidden_size, requires_grad=True)
            try:
                logits = self._forward(layer, push)[0]
            finally:
                handle.remove()
            (logits[self.stop_id] - logits[self.bet_id]).backward()
            assert push.grad is not None
            states.append(seen[0])
            gradients.append(push.grad[0])
        return torch.stack(states), torch.stack(gradients)


def log_odds(p: Tensor) -> Tensor:
    """ln(p / (1 - p)), finite for p of 0 or 1 in float32."""
    return torch.logit(p.clamp(1e-7, 1 - 1e-7))
