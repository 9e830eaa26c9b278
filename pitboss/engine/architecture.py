"""One view on the decoder blocks of every model family the engine runs.

A block is its weights; what is done with them is written once, in `forward`, for all families. An
adapter of a few lines says where a family keeps its weights and which of the variants it has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from pitboss.errors import BadInput


class Fp8(NamedTuple):
    """A weight in 8 bits: row i of the matrix is data[i]·scale[0, i].

    Attributes:
        data: float8_e4m3fn [rows, columns].
        scale: float32 [1, rows].
    """

    data: torch.Tensor
    scale: torch.Tensor


Weight = torch.Tensor | Fp8


class Block(NamedTuple):
    """Weights of one decoder block; what a family does not have is None.

    Attributes:
        qkv: [(heads + 2·kv_heads)·head_dim, d_model], the three projections in one.
        qkv_bias: Their biases in one.
        q_norm, k_norm: [head_dim], norms of each head's query and key before rotation.
        gate_up: [2·d_mlp, d_model], gate and up projection in one.
        after_attention, after_mlp: [d_model], norms of what a part adds to the residual stream.
    """

    before_attention: torch.Tensor
    qkv: Weight
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    o: Weight
    after_attention: torch.Tensor | None
    before_mlp: torch.Tensor
    gate_up: Weight
    down: Weight
    after_mlp: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Architecture:
    """The parts of a decoder-only model, in the order the residual stream meets them.

    Attributes:
        windows: For each block, how many keys back a query sees, itself included; None for all.
        norm_offset: Added to every norm's weight (Gemma stores w − 1).
    """

    embed: Callable[[torch.Tensor], torch.Tensor]
    blocks: tuple[Block, ...]
    norm: torch.Tensor
    unembed: torch.Tensor
    rotary: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    windows: tuple[int | None, ...]
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab: int
    scale: float
    eps: float
    norm_offset: float
    activation: Literal["silu", "gelu_tanh"]
    attention_softcap: float | None
    logit_softcap: float | None


class _Family(NamedTuple):
    """Where a family differs from LLaMA."""

    activation: Literal["silu", "gelu_tanh"] = "silu"
    norm_offset: float = 0.0
    head_norms: bool = False  # norms of each head's query and key
    post_norms: bool = False  # norms after attention and MLP; then the MLP's own comes before it
    window: Callable[[Any, int], int | None] = lambda config, index: None


def _mistral_window(config: Any, index: int) -> int | None:
    return getattr(config, "sliding_window", None)


def _typed_window(config: Any, index: int) -> int | None:
    return config.sliding_window if config.layer_types[index] == "sliding_attention" else None


_FAMILIES = {
    "llama": _Family(),
    "mistral": _Family(window=_mistral_window),
    "qwen3": _Family(head_norms=True, window=_typed_window),
    "gemma2": _Family("gelu_tanh", norm_offset=1.0, post_norms=True, window=_typed_window),
}


def architecture(model: nn.Module) -> Architecture:
    """Adapt a transformers causal language model.

    The query, key and value weights, and those of gate and up, are laid side by side in memory, so
    that one matrix product does for all; the model's own modules become views of them.

    Raises:
        BadInput: The model family is none of those the engine knows.
    """
    config: Any = model.config
    if config.model_type not in _FAMILIES:
        raise BadInput(
            f"the engine does not run models of type {config.model_type!r}",
            next=f"use one of {sorted(_FAMILIES)} or add an entry to them.",
        )
    family = _FAMILIES[config.model_type]
    inner: Any = model.model
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_head = getattr(config, "query_pre_attn_scalar", None) or head_dim
    unembed: Any = model.lm_head
    return Architecture(
        embed=inner.embed_tokens,
        blocks=tuple(_block(layer, family) for layer in inner.layers),
        norm=inner.norm.weight,
        unembed=unembed.weight,
        rotary=inner.rotary_emb,
        windows=tuple(family.window(config, index) for index in range(len(inner.layers))),
        d_model=config.hidden_size,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        vocab=config.vocab_size,
        scale=per_head**-0.5,
        eps=config.rms_norm_eps,
        norm_offset=family.norm_offset,
        activation=family.activation,
        attention_softcap=getattr(config, "attn_logit_softcapping", None),
        logit_softcap=getattr(config, "final_logit_softcapping", None),
    )


def _block(layer: Any, family: _Family) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    biases = [part.bias for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
    if family.post_norms:
        before_mlp = layer.pre_feedforward_layernorm.weight
        after_attention = layer.post_attention_layernorm.weight
        after_mlp = layer.post_feedforward_layernorm.weight
    else:
        before_mlp = layer.post_attention_layernorm.weight
        after_attention = after_mlp = None
    for unexpected in (attention.o_proj.bias, mlp.gate_proj.bias, mlp.down_proj.bias):
        if unexpected is not None:
            raise BadInput("the engine has no output or MLP biases, this model has")
    qkv, gate_up = lay_side_by_side(layer)
    return Block(
        before_attention=layer.input_layernorm.weight,
        qkv=qkv,
        qkv_bias=None if biases[0] is None else torch.cat(biases),
        q_norm=attention.q_norm.weight if family.head_norms else None,
        k_norm=attention.k_norm.weight if family.head_norms else None,
        o=attention.o_proj.weight,
        after_attention=after_attention,
        before_mlp=before_mlp,
        gate_up=gate_up,
        down=mlp.down_proj.weight,
        after_mlp=after_mlp,
    )


def lay_side_by_side(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """A block's `qkv` and `gate_up`, of which its own weights are views afterwards."""
    attention, mlp = layer.self_attn, layer.mlp
    qkv = [part.weight for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
    return _side_by_side(qkv), _side_by_side([mlp.gate_proj.weight, mlp.up_proj.weight])


@torch.no_grad()
def _side_by_side(weights: list[torch.Tensor]) -> torch.Tensor:
    """One tensor of which these [rows, columns] weights are views, one below the other."""
    if not _adjacent(weights):
        whole = torch.cat([weight.detach() for weight in weights])
        at = 0
        for weight in weights:
            weight.data = whole[at : at + len(weight)]
            at += len(weight)
    first = weights[0].detach()
    rows, columns = sum(len(weight) for weight in weights), first.shape[1]
    return first.as_strided((rows, columns), (columns, 1))


def _adjacent(weights: list[torch.Tensor]) -> bool:
    storage = weights[0].untyped_storage().data_ptr()
    at = weights[0].data_ptr()
    for weight in weights:
        same = weight.untyped_storage().data_ptr() == storage
        if not same or weight.data_ptr() != at or not weight.is_contiguous():
            return False
        at += weight.numel() * weight.element_size()
    return True
