"""One decode step for all rows at once. Decides nothing: it is told which row sits in which slot.

The matrix products always have `width` rows, however few slots are in use, because a product's
rounding may depend on its shape. Slots (memory for keys and values) may be fewer than the width.
"""

from typing import NamedTuple

import torch

from pitboss.engine.architecture import Architecture
from pitboss.engine.attention import attend, merge
from pitboss.engine.forward import RotaryTable, run_block
from pitboss.engine.noise import noise_words
from pitboss.engine.patches import PatchLane
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.row import Row
from pitboss.engine.sampler import SamplingBuffers, sample
from pitboss.saes.loading import SaeLayer


class StepOutput(NamedTuple):
    """Next token of every slot; logits float32 [width, vocab]; states by captured slot."""

    tokens: list[int]
    logits: torch.Tensor
    states: dict[int, torch.Tensor]


class Runner:
    """Buffers and the step that reads them.

    Args:
        width: Rows of every matrix product.
        slots: Rows that can be in flight, at most `width`.
        prefixes: Number of prompts shared between rows, or None for a prompt of its own a slot.
        prompt_capacity, token_capacity: Most prompt tokens and most new tokens of any row.
        lanes: Most patches of any row.
    """

    def __init__(
        self,
        arch: Architecture,
        like: torch.Tensor,
        *,
        seed: int,
        eos: frozenset[int],
        width: int,
        slots: int,
        prefixes: int | None,
        prompt_capacity: int,
        token_capacity: int,
        lanes: int,
        capture_layers: tuple[int, ...],
        saes: dict[int, SaeLayer],
    ) -> None:
        device = like.device
        self.arch, self.seed, self.width, self.slots = arch, seed, width, slots
        self.capture_layers, self.saes = capture_layers, saes
        self.rotary = RotaryTable(arch, prompt_capacity + token_capacity, like)
        self.shared = prefixes is not None
        self.prefix = PrefixStore(arch, self.rotary, prefixes or slots, prompt_capacity, like)
        self.live_places: set[int] = set()
        shape = (slots, arch.n_kv_heads, token_capacity, arch.head_dim)
        self.own_k = [like.new_zeros(shape) for _ in arch.blocks]
        self.own_v = [like.new_zeros(shape) for _ in arch.blocks]
        self.token, self.position, self.step_no, self.place = torch.zeros(
            4, width, dtype=torch.int64, device=device
        )
        self.sampling = SamplingBuffers.empty(width, device)
        self.candidates: dict[int, int] = {}  # slot → candidates its sampling needs
        self.lanes = [PatchLane(width, arch.d_model, device) for _ in range(lanes)]
        self.eos = torch.tensor(sorted(eos), dtype=torch.int64, device=device)
        self.slot_index = torch.arange(slots, device=device)
        self.own_index = torch.arange(token_capacity, device=device)

    def seat(self, slot: int, row: Row, place: int) -> None:
        """Put a row into a slot; its prefix lies at `place`, its first step is its last token."""
        self.token[slot] = row.prompt[-1]
        self.position[slot] = len(row.prompt) - 1
        self.step_no[slot] = 0
        self.place[slot] = place
        s = row.sampling
        self.sampling.temperature[slot], self.sampling.top_p[slot] = s.temperature, s.top_p
        self.sampling.top_k[slot], self.sampling.min_new[slot] = s.top_k, s.min_new_tokens
        self.sampling.words[slot] = torch.tensor(noise_words(self.seed, row.noise))
        greedy = s.temperature == 0
        self.candidates[slot] = 1 if greedy else min(s.top_k or self.arch.vocab, self.arch.vocab)
        for i, lane in enumerate(self.lanes):
            lane.put(slot, row.patches[i] if i < len(row.patches) else None)

    def clear(self, slot: int) -> None:
        """Forget the row in a slot; what it leaves behind is computed on but never read."""
        self.step_no[slot] = 0
        self.candidates.pop(slot, None)
        for lane in self.lanes:
            lane.put(slot, None)

    @torch.inference_mode()
    def step(self, capture: list[int]) -> StepOutput:
        """One token for every row; `capture` names the slots whose residual stream is wanted."""
        arch = self.arch
        x = arch.embed(self.token)
        kept: dict[int, torch.Tensor] = {}
        at = torch.tensor(capture, dtype=torch.int64, device=x.device)
        own_visible = self.own_index <= self.step_no[: self.slots, None]

        def attention(
            index: int, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor
        ) -> torch.Tensor:
            return self._attend(index, q, k, v, own_visible)

        for index in range(len(arch.blocks)):
            x = run_block(arch, index, x, self.position, self.rotary, attention)
            for lane in self.lanes:
                x = lane.apply(index, x, self.step_no, self.saes.get(index))
            if capture and index in self.capture_layers:
                kept[index] = x[at].float().cpu()
        logits = arch.logits(x)
        most = max(self.candidates.values(), default=1)
        tokens = sample(logits, self.step_no, self.sampling, self.eos, most)
        states = {
            slot: torch.stack([kept[layer][i] for layer in self.capture_layers])
            for i, slot in enumerate(capture)
        }
        self.token.copy_(tokens)
        self.position += 1
        self.step_no += 1
        self._keep_idle_slots_in_range()
        return StepOutput(tokens.tolist(), logits, states)

    def _attend(
        self,
        index: int,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        own_visible: torch.Tensor,
    ) -> torch.Tensor:
        arch, n = self.arch, self.slots
        q = q.view(self.width, arch.n_kv_heads, -1, arch.head_dim)
        step = self.step_no[:n]
        self.own_k[index][self.slot_index, :, step] = k[:n]
        self.own_v[index][self.slot_index, :, step] = v[:n]
        window = arch.blocks[index].window
        if window is not None:
            own_visible = own_visible & (step[:, None] - self.own_index < window)
        own = attend(
            q[:n],
            self.own_k[index],
            self.own_v[index],
            own_visible[:, None, None],
            arch.scale,
            arch.attention_softcap,
        )
        if self.shared:
            out, lse = self.prefix.attend_shared(
                index, q, self.position, self.place, self.live_places
            )
            prefix = out[:n], lse[:n]
        else:
            prefix = self.prefix.attend_private(index, q[:n], self.position[:n])
        mixed = q.new_zeros(self.width, arch.n_heads * arch.head_dim)
        mixed[:n] = merge(prefix, own).reshape(n, -1)
        return mixed

    def _keep_idle_slots_in_range(self) -> None:
        """Slots without a row go on computing; their positions must stay inside the tables."""
        self.position.clamp_(max=len(self.rotary.cos) - 1)
        self.step_no.clamp_(max=len(self.own_index) - 1)
