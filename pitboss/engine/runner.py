"""One decode step of a micro-batch. Decides nothing: it is told which request has which slot."""

import gc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from pitboss.counted import noise_words
from pitboss.engine.architecture import Architecture
from pitboss.engine.buffers import SlotBuffers, host_buffer
from pitboss.engine.config import EngineConfig
from pitboss.engine.forward import cap
from pitboss.engine.patches import Directions, Patcher
from pitboss.engine.request import Request
from pitboss.engine.sampler import NARROW, sample
from pitboss.engine.stack import Stack
from pitboss.saes.loading import SaeLayer


class StepOutput(NamedTuple):
    """Next token of every slot; logits float32 [width, vocab] if kept; states by captured slot."""

    tokens: list[int]
    logits: torch.Tensor | None
    states: dict[int, torch.Tensor]


class Runner:
    """Runs a micro-batch: the buffers of its slots and the step that reads them.

    `launch` starts a step and `collect` waits for it; on a GPU the host is free in between.

    Args:
        saes: Whole SAEs by block, needed only by the reconstruct modes.
        pool: Memory that the CUDA graphs of several micro-batches share; they never run at once.
    """

    def __init__(
        self,
        arch: Architecture,
        stack: Stack,
        directions: Directions,
        config: EngineConfig,
        *,
        seed: int,
        eos: frozenset[int],
        saes: Mapping[int, SaeLayer],
        pool: Any = None,
    ) -> None:
        width, device = config.width, stack.rotary.cos.device
        self.arch, self.stack, self.seed, self.device = arch, stack, seed, device
        self.buffers = SlotBuffers(width, config.patch_slots, device)
        self.patcher = Patcher(self.buffers, directions, saes, stack.fast)
        self.capture_layers, self.keep_logits = config.capture_layers, config.keep_logits
        self.eos = torch.tensor(sorted(eos), dtype=torch.int64, device=device)
        self.token, self.step_no = torch.zeros(2, width, dtype=torch.int64, device=device)
        self.prefix_slots: list[int | None] = [None] * stack.slots
        self.wide: set[int] = set()  # slots whose requests keep many tokens
        self._reassigned = True
        self._tokens = host_buffer((width,), torch.int64, device)
        self._states = [
            torch.zeros(width, arch.d_model, dtype=stack.rotary.cos.dtype, device=device)
            for _ in config.capture_layers
        ]
        self._logits: torch.Tensor | None = None
        self._graphs = StepGraphs(pool) if stack.fast else None
        if device.type == "cuda":
            self._done, self._copies = torch.cuda.Event(), torch.cuda.Stream(device)

    def assign(self, slot: int, request: Request, prefix_slot: int) -> None:
        """Give a request a slot; its first step is the last token of its prompt.

        Args:
            prefix_slot: Where the tokens before that one lie.
        """
        s = request.sampling
        word0, word1 = noise_words(self.seed, request.noise)
        self.buffers.put(
            slot,
            {
                "fresh": 1,
                "live": 1,
                "token": request.prompt[-1],
                "start": len(request.prompt) - 1,
                "top_k": s.top_k,
                "min_new": s.min_new_tokens,
                "word0": word0,
                "word1": word1,
                "temperature": s.temperature,
                "top_p": s.top_p,
            },
            self.patcher.put(slot, request.patches),
        )
        if s.temperature and not 0 < s.top_k <= NARROW:
            self.wide.add(slot)
        self._see(slot, prefix_slot)

    def clear(self, slot: int) -> None:
        """Forget the request in a slot; what it leaves behind is computed on but never read."""
        self.buffers.clear(slot)
        self.patcher.clear(slot)
        self.wide.discard(slot)
        self._see(slot, None)

    def _see(self, slot: int, prefix_slot: int | None) -> None:
        if self.prefix_slots[slot] != prefix_slot:
            self.prefix_slots[slot] = prefix_slot
            self._reassigned = True

    @torch.inference_mode()
    def launch(self) -> None:
        """Start one token of every slot; on a GPU, return before it is done."""
        if self._reassigned:
            self.stack.assign(self.prefix_slots)
            self._reassigned = False
        self.buffers.send()
        self.patcher.begin()
        if self._graphs is None:
            self._step(bool(self.wide))
        else:
            self._graphs.run(self._step, bool(self.wide))
        self._tokens.copy_(self.token, non_blocking=True)
        if self.device.type == "cuda":
            self._done.record()

    @torch.inference_mode()
    def collect(self, capture: list[int]) -> StepOutput:
        """Wait for the step; `capture` names the slots whose residual stream is wanted."""
        if self.device.type == "cuda":
            self._done.synchronize()
        self.buffers.sent()
        if not capture and not self.keep_logits:
            return StepOutput(self._tokens.tolist(), None, {})
        if self.device.type != "cuda":
            return StepOutput(self._tokens.tolist(), self._logits, self._captured(capture))
        # On a stream of its own: the main one is busy with the next micro-batch's step.
        with torch.cuda.stream(self._copies):
            logits = None if self._logits is None else self._logits.cpu()
            return StepOutput(self._tokens.tolist(), logits, self._captured(capture))

    def _captured(self, capture: list[int]) -> dict[int, torch.Tensor]:
        if not capture:
            return {}
        at = torch.tensor(capture, device=self.device)
        rows = torch.stack([state[at] for state in self._states], dim=1).float().cpu()
        return dict(zip(capture, rows, strict=True))

    def _step(self, wide: bool) -> None:
        """The step itself: reads and writes buffers that never move."""
        ints, stack = self.buffers.ints, self.stack
        fresh, live = ints["fresh"] != 0, ints["live"] != 0
        step = torch.where(live & ~fresh, self.step_no, 0)
        stack.begin(ints["start"] + step, step)
        x = self.arch.embed(torch.where(fresh, ints["token"], self.token))
        for index in range(len(self.arch.blocks)):
            x = self.patcher.apply(index, stack.block(index, x), step)
            if index in self.capture_layers:
                self._states[self.capture_layers.index(index)].copy_(x)
        raw = stack.raw_logits(x)
        if self.keep_logits:
            self._keep(cap(raw, self.arch.logit_softcap))
        softcap = self.arch.logit_softcap
        tokens = sample(raw, step, self.buffers, self.eos, softcap, wide, stack.fast)
        self.token.copy_(tokens)
        self.step_no.copy_(step + 1)
        ints["fresh"].zero_()

    def _keep(self, logits: torch.Tensor) -> None:
        if self._logits is None:
            self._logits = torch.empty_like(logits)
        self._logits.copy_(logits)


class StepGraphs:
    """A step captured as CUDA graphs, by its variant: thousands of kernels, one launch.

    Each is captured when it is first needed.

    Args:
        pool: Memory pool shared with graphs that never run at the same time.
    """

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}

    def run(self, step: Callable[[bool], None], variant: bool) -> None:
        """One step. The first of a variant runs as it is, which compiles what is not compiled.

        Args:
            step: Reads and writes buffers that never move; the variant is its only argument. It is
                not kept: a cycle with its owner would hold on to the owner's memory.
        """
        graph = self.graphs.get(variant)
        if graph is not None:
            graph.replay()
            return
        step(variant)
        torch.cuda.synchronize()
        gc.collect()  # a graph of an engine that is gone must not be destroyed during the capture
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):  # records; nothing is computed
            step(variant)
        self.graphs[variant] = graph
