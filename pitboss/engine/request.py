"""What goes into the engine and what comes out: a request, its patches, its generation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch

from pitboss.engine.config import EngineConfig
from pitboss.errors import BadInput

Mode = Literal["delta", "reconstruct", "reconstruct_only"]
Positions = Literal["prompt_last", "prompt_last_and_generated"]
Finish = Literal["eos", "length", "decided"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn.

    `temperature` divides the logits (0 means greedy); then only the `top_k` largest stay (0: all);
    then the smallest set whose probability reaches `top_p`. This is the order of transformers'
    `generate`, whose silent default of top_k = 50 the original study ran under.
    """

    temperature: float = 0.7
    top_k: int = 50
    top_p: float = 1.0
    max_new_tokens: int = 100
    min_new_tokens: int = 0

    def __post_init__(self) -> None:
        wrong = {
            "temperature": self.temperature < 0,
            "top_k": self.top_k < 0,
            "top_p": not 0 < self.top_p <= 1,
            "max_new_tokens": self.max_new_tokens < 1,
            "min_new_tokens": not 0 <= self.min_new_tokens <= self.max_new_tokens,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise BadInput(f"{name} = {getattr(self, name)} is out of range", where="sampling")


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One SAE feature, or one coordinate, set to a value in the residual stream after one block.

    With x the block's output, v = x·enc + shift and a = relu(scale·v + bias) where v > threshold,
    else 0 (every separable SAE class has this form); a `linear` patch has a = v. Modes:

    * `delta`: x ← x + (value − a)·dec. The reconstruction error stays in place.
    * `reconstruct`: x ← decode(encode(x) with the feature set to value), as the original study did.
    * `reconstruct_only`: x ← decode(encode(x)), the control of `reconstruct`.

    Delta patches of one request at one layer all read the same x and add up.

    Positions: `prompt_last` changes the last prompt token only; `prompt_last_and_generated` that
    token and every generated one, whose keys and values above the block stay changed.

    Attributes:
        enc, dec: float32 [d_model].
        value: Target activation; None sets the feature to its own value (changes nothing).
    """

    layer: int
    feature: int
    enc: torch.Tensor
    shift: float
    scale: float
    bias: float
    threshold: float
    dec: torch.Tensor
    value: float | None
    mode: Mode = "delta"
    positions: Positions = "prompt_last_and_generated"
    linear: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One generation to be made.

    Attributes:
        key: Unique name of the request within its study.
        prompt: Token ids, the last of which is the first position a patch can touch.
        noise: Name of the request's noise. Requests with the same noise and the same logits draw
            the same tokens, so arms that share it are paired.
        capture: Return the residual stream at the last prompt token, after the blocks of
            `EngineConfig.capture_layers`.
        ends: Tells from the text so far that nothing later can change the decision.
    """

    key: str
    prompt: tuple[int, ...]
    noise: str
    sampling: Sampling = field(default_factory=Sampling)
    patches: tuple[Patch, ...] = ()
    capture: bool = False
    ends: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """What a request produced.

    Attributes:
        tokens: Generated ids, without the end token.
        finish: `eos` (the model ended), `length` (the token limit), `decided` (`Request.ends`).
        states: Residual stream at the last prompt token, float32 [layers, d_model], or None.
        logits: float32 [steps, vocab] when the engine keeps logits, else None.
    """

    key: str
    tokens: tuple[int, ...]
    text: str
    finish: Finish
    states: torch.Tensor | None = None
    logits: torch.Tensor | None = None


def check_request(request: Request, config: EngineConfig) -> None:
    """Raise BadInput if an engine of this size cannot run the request."""
    if not 0 < len(request.prompt) <= config.padded_prompt:
        raise BadInput(
            f"a prompt has {len(request.prompt)} tokens, the engine holds 1 to "
            f"{config.padded_prompt}",
            where=request.key,
        )
    if request.sampling.max_new_tokens > config.token_capacity:
        raise BadInput(
            f"max_new_tokens = {request.sampling.max_new_tokens} exceeds the engine's "
            f"{config.token_capacity}",
            where=request.key,
        )
    if len(request.patches) > config.patch_slots:
        raise BadInput(
            f"{len(request.patches)} patches in a request, the engine has {config.patch_slots} "
            "patch slots",
            where=request.key,
        )
