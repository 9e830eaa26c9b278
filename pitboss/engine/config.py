"""How large an engine is: one description for the engine, its parts and its memory."""

from dataclasses import dataclass
from typing import Literal

from pitboss.errors import BadInput

# A prompt is padded to whole buckets, and every prefill has the same number of tokens, so that a
# prompt's keys and values do not depend on which prompts came with it.
BUCKET = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Sizes and options of an engine.

    Attributes:
        width: Rows of every matrix product; part of what determines a result's last bits.
        prompt_capacity: Most tokens of any prompt.
        token_capacity: Most new tokens of any request; 0 where a request only ever runs the last
            token of its prompt, whose keys are then kept nowhere.
        slots: Requests in flight; None: `width` in every micro-batch. Does not change results.
        micro_batches: Batches of `width` rows that take turns, so that the host reads the tokens of
            one and fills its slots while the device computes the other; None: 2 on the fast path
            where there are more slots than `width`, else 1. Does not change results.
        prefixes: How many prompts requests share at a time; None when each has its own.
        patch_slots: Most patches of any request.
        capture_layers: Blocks whose output is returned for requests that ask for it.
        keep_logits: Return every step's logits (for analysis and tests).
        precision: "fp8" for matrix products in 8 bits; None for the model's dtype.
        fast: True for compiled layers, own attention kernels and CUDA graphs; False for the plain
            path, which is the reference; None: the fast path where CUDA and Triton exist, on a CPU
            the plain one with attention in tiles.

    Raises:
        BadInput: A size is out of range.
    """

    width: int
    prompt_capacity: int
    token_capacity: int
    slots: int | None = None
    micro_batches: int | None = None
    prefixes: int | None = None
    patch_slots: int = 1
    capture_layers: tuple[int, ...] = ()
    keep_logits: bool = False
    precision: Literal["fp8"] | None = None
    fast: bool | None = None

    def __post_init__(self) -> None:
        least = {
            "width": 1,
            "prompt_capacity": 1,
            "token_capacity": 0,
            "slots": 1,
            "micro_batches": 1,
            "prefixes": 1,
            "patch_slots": 0,
        }
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise BadInput(f"{name} = {value} is below {smallest}", where="engine")

    @property
    def shared(self) -> bool:
        """Whether requests share their prompts, or each slot has a prompt of its own."""
        return self.prefixes is not None

    @property
    def padded_prompt(self) -> int:
        """Tokens for which every prompt has room: whole buckets."""
        return -(-self.prompt_capacity // BUCKET) * BUCKET

    def micro_batch_slots(self, fast: bool, slots: int | None = None) -> list[int]:
        """How many slots each micro-batch has, at most `width`.

        Args:
            fast: Whether the engine takes the fast path.
            slots: As many in all instead of those of the configuration.

        Raises:
            BadInput: There are more slots than the micro-batches have room for.
        """
        slots = self.slots if slots is None else slots
        number = self.micro_batches
        if number is None:
            number = 2 if fast and (slots is None or slots > self.width) else 1
        slots = number * self.width if slots is None else slots
        if slots > number * self.width:
            raise BadInput(
                f"slots = {slots} is above {number * self.width}, {number} times the width of "
                f"{self.width}",
                where="engine",
            )
        number = min(number, slots)
        return [slots // number + (i < slots % number) for i in range(number)]
