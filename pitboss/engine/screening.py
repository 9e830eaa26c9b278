"""What a patch does to a decision that the first token makes, computed instead of sampled.

A patch at block l changes nothing below it and, at the last prompt token, nothing but this token's
residual stream. So one row of one token answers for one patch: the clean stream after block l plus
the change, run through blocks l + 1 and up against the prompt's shared keys and values, gives the
logits from which the first token would be drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from pitboss.engine.architecture import architecture
from pitboss.engine.buffers import to_device
from pitboss.engine.compiled import way_of
from pitboss.engine.config import EngineConfig
from pitboss.engine.decisions import (
    Decisions,
    Floats,
    Screened,
    check_change,
    check_screen,
    decisions_of,
    screened,
)
from pitboss.engine.forward import Forward, RotaryTable, cap
from pitboss.engine.precision import in_fp8
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.pressure import model_to_device
from pitboss.engine.stack import Stack
from pitboss.errors import PitbossError
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer

__all__ = ["Decisions", "Screen", "Screened"]

# Rows of a batch whose logits over the whole vocabulary are in memory at once.
_UNEMBEDDED = 1024


class Screen:
    """The prompts of a screening on one model and device.

    Args:
        loaded: The model.
        width: Rows of every matrix product.
        prompts: Token ids of each prompt.
        choices: Choice → the tokens that make it, the same for all prompts.
        mass: Compute probabilities over the whole vocabulary. Without it only the choices' own
            logits are computed, which saves the unembedding of all other tokens; log-odds are the
            same bits either way.
        precision, fast: As of `EngineConfig`.

    Attributes:
        unpatched: Decisions of shape [prompts], over the whole vocabulary whatever `mass` is.

    Raises:
        BadInput: There is no prompt or choice, or a choice's tokens do not exist.
        PitbossError: The device has no room for batches of this width.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        width: int,
        prompts: Sequence[tuple[int, ...]],
        choices: Mapping[str, Sequence[int]],
        mass: bool = True,
        precision: Literal["fp8"] | None = None,
        fast: bool | None = None,
    ) -> None:
        self.loaded, self.width, self.mass = loaded, width, mass
        model_to_device(loaded.model, loaded.device)  # under pressure it may have been moved away
        arch = architecture(loaded.model)
        self.arch = arch = in_fp8(arch) if precision == "fp8" else arch
        check_screen(width, prompts, choices, arch.vocab)
        self.prompts, self.choices = tuple(prompts), tuple(choices)
        self._sizes = {choice: len(tokens) for choice, tokens in choices.items()}
        config = EngineConfig(
            width=width,
            prompt_capacity=max(map(len, prompts)),
            token_capacity=0,
            prefixes=len(prompts),
        )
        device = loaded.device
        tokens = torch.tensor([t for tokens in choices.values() for t in tokens], device=device)
        self._tokens, self._forward = tokens, Forward(arch)
        try:
            with torch.inference_mode():
                self._directions = arch.unembed[tokens].float()
                like = arch.embed(torch.zeros(1, dtype=torch.int64, device=device))
                rotary = RotaryTable(arch, config.padded_prompt, like)
                prefix = PrefixStore(arch, rotary, len(prompts), config.padded_prompt, like)
                way = way_of(device, arch.head_dim, fast)
                self._stack = Stack(arch, rotary, prefix, config, width, way)
                prefix.fill(dict(enumerate(self.prompts)))
                self._first_step = torch.zeros(width, dtype=torch.int64, device=device)
                self._position = torch.tensor([len(p) - 1 for p in prompts], device=device)
                self._assigned: list[int] = []
                self._sent: torch.cuda.Event | None = None
                self._clean, self.unpatched = self._run_unpatched()
        except torch.OutOfMemoryError as error:
            raise self._too_wide(error) from error

    def clean(self, layer: int) -> torch.Tensor:
        """Unpatched residual stream at each prompt's last token after this block: [prompts, d]."""
        return self._clean[layer]

    def change(self, sae: SaeLayer, values: torch.Tensor) -> torch.Tensor:
        """value − activation of every feature of an SAE, float32 [prompts, values, features].

        Args:
            sae: On this screen's device.
            values: float32 [values, features], what the features are set to.
        """
        with torch.inference_mode():
            own = sae.encode(self.clean(sae.layer).float())
            return values.to(own.device)[None] - own[:, None]

    @torch.inference_mode()
    def run(self, layer: int, dec: torch.Tensor, change: torch.Tensor) -> Screened:
        """Decisions after x ← x + change · dec at block `layer` of the last prompt token.

        The sum is computed in float32 and rounded once to the model's number format, as a patch of
        the engine is. The host waits for the device twice: for the number of rows that change
        anything, and for the results.

        Args:
            dec: float32 [features, d_model], decoder rows.
            change: float32 [prompts, values, features], such as value − activation.

        Raises:
            BadInput: The layer does not exist, or shapes do not fit.
            PitbossError: The device has no room for batches of this width.
        """
        check_change(self.arch, len(self.prompts), layer, dec, change)
        device = self.loaded.device
        dec, change = dec.to(device), change.to(device)
        try:
            rows = change.flatten().nonzero().squeeze(1)
            per_prompt = (change != 0).flatten(1).sum(1).tolist()
            prefix_slots = np.repeat(np.arange(len(self.prompts)), per_prompt).tolist()
            found = [
                self._batch(layer, dec, change, rows[at : at + self.width], prefix_slots[at:])
                for at in range(0, len(prefix_slots), self.width)
            ]
            logits, others = self._to_host(found)
        except torch.OutOfMemoryError as error:
            raise self._too_wide(error) from error
        index = rows.cpu().numpy()
        others = None if others is None else others[: len(index)]
        here = decisions_of(self._sizes, logits[: len(index)], others)
        clean = self.unpatched if self.mass else replace(self.unpatched, log_total=None)
        return screened(tuple(change.shape), index, here, clean)

    def _batch(
        self,
        layer: int,
        dec: torch.Tensor,
        change: torch.Tensor,
        rows: torch.Tensor,
        prefix_slots: list[int],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One batch of changed rows, filled up to the width with copies of its last."""
        prefix_slots = prefix_slots[: self.width]
        if missing := self.width - len(rows):
            rows = torch.cat((rows, rows[-1:].expand(missing)))
            prefix_slots = prefix_slots + prefix_slots[-1:] * missing
        prompt, feature = rows // change[0].numel(), rows % change.shape[-1]
        size = change.flatten().index_select(0, rows)
        x = self.clean(layer).index_select(0, prompt).float()
        x = x + size[:, None] * dec.index_select(0, feature)
        x = self._above(layer, x.to(self.loaded.dtype), prefix_slots, prompt)
        return self._read(x, self.mass)

    def _above(
        self, layer: int, x: torch.Tensor, prefix_slots: list[int], prompt: torch.Tensor
    ) -> torch.Tensor:
        """Residual stream [width, d_model] after the last block, given that after `layer`."""
        self._assign(prefix_slots, prompt)
        for index in range(layer + 1, len(self.arch.blocks)):
            x = self._stack.block(index, x)
        return x

    def _assign(self, prefix_slots: list[int], prompt: torch.Tensor) -> None:
        if prefix_slots != self._assigned:
            if self._sent is not None:
                self._sent.synchronize()  # those before may not have left the host yet
            self._stack.assign(prefix_slots)
            self._assigned = prefix_slots
            if prompt.is_cuda:
                self._sent = torch.cuda.Event()
                self._sent.record()
        self._stack.begin(self._position.index_select(0, prompt), self._first_step)

    def _read(self, x: torch.Tensor, mass: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits [width, tokens] of the choices' tokens; log Σ exp over all others [width].

        The choices' logits are products in float32 of the normed stream with their rows of the
        unembedding: a logit of 20 in bfloat16 is a multiple of 1/8, too coarse for a small shift.
        """
        normed = self._forward.norm(x, self.arch.norm)
        logits = cap(F.linear(normed.float(), self._directions), self.arch.logit_softcap)
        if not mass:
            return logits, None
        others = [self._others(some) for some in normed.split(_at_once(self.width))]
        return logits, torch.cat(others)

    def _others(self, normed: torch.Tensor) -> torch.Tensor:
        every = cap(F.linear(normed, self.arch.unembed), self.arch.logit_softcap)
        return every.index_fill_(1, self._tokens, -torch.inf).logsumexp(-1)

    def _run_unpatched(self) -> tuple[list[torch.Tensor], Decisions]:
        device, prompts = self.loaded.device, range(len(self.prompts))
        streams: list[list[torch.Tensor]] = []
        read: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        for start in range(0, len(self.prompts), self.width):
            prefix_slots = list(prompts[start : start + self.width])
            n = len(prefix_slots)
            prefix_slots += prefix_slots[-1:] * (self.width - n)
            last = torch.tensor([self.prompts[at][-1] for at in prefix_slots])
            x = self.arch.embed(to_device(last, device))
            self._assign(prefix_slots, to_device(torch.tensor(prefix_slots), device))
            after = []
            for index in range(len(self.arch.blocks)):
                x = self._stack.block(index, x)
                after.append(x[:n].clone())
            streams.append(after)
            logits, others = self._read(x, True)
            read.append((logits[:n], None if others is None else others[:n]))
        clean = [torch.cat(parts) for parts in zip(*streams, strict=True)]
        return clean, decisions_of(self._sizes, *self._to_host(read))

    def _to_host(
        self, found: list[tuple[torch.Tensor, torch.Tensor | None]]
    ) -> tuple[Floats, Floats | None]:
        """All batches' logits and log-sums as float64 arrays; no rows when there is no batch."""
        logits = [logits for logits, _ in found]
        others = [other for _, other in found if other is not None]
        if not logits:
            return np.zeros((0, len(self._tokens))), None
        host = torch.cat(logits).cpu().numpy().astype(np.float64)
        return host, torch.cat(others).cpu().numpy().astype(np.float64) if others else None

    def _too_wide(self, error: torch.OutOfMemoryError) -> PitbossError:
        # Not OutOfMemory: that is tried again with fewer slots, and here every slot is a row.
        return PitbossError(
            f"The device has no room for screening {self.width} rows at once: {error}",
            where=str(self.loaded.device),
            next="Free it from other programs, or set a smaller screening.width.",
        )


def _at_once(width: int) -> int:
    """Rows unembedded together: a divisor of the width, so that all products have one shape."""
    return next(n for n in range(min(width, _UNEMBEDDED), 0, -1) if width % n == 0)
