"""One view on the decoder blocks of every model family the engine runs.

The modules are transformers' own (norms, projections, MLP, rotary table); only the order in which a
block calls them is written here, so that the engine can put its own attention in the middle.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pitboss.errors import BadInput

Module = Callable[[torch.Tensor], torch.Tensor]


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


@dataclass(frozen=True, slots=True)
class Block:
    """One decoder block: x ← x + after_attention(o(attention(q, k, v))), then the MLP likewise."""

    before_attention: Module
    q: Module
    k: Module
    v: Module
    o: Module
    after_attention: Module
    before_mlp: Module
    mlp: Module
    after_mlp: Module
    window: int | None  # keys further back than this are not seen


@dataclass(frozen=True, slots=True)
class Architecture:
    """The parts of a decoder-only model, in the order the residual stream meets them."""

    embed: Module
    blocks: tuple[Block, ...]
    norm: Module
    unembed: Module
    rotary: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab: int
    scale: float
    attention_softcap: float | None
    logit_softcap: float | None

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Next-token logits, float32 [rows, vocab], of residual streams [rows, d_model]."""
        logits = self.unembed(self.norm(x)).float()
        if self.logit_softcap is None:
            return logits
        return torch.tanh(logits / self.logit_softcap) * self.logit_softcap


def _llama_block(layer: Any, config: Any) -> Block:
    attention = layer.self_attn
    return Block(
        before_attention=layer.input_layernorm,
        q=attention.q_proj,
        k=attention.k_proj,
        v=attention.v_proj,
        o=attention.o_proj,
        after_attention=_same,
        before_mlp=layer.post_attention_layernorm,
        mlp=layer.mlp,
        after_mlp=_same,
        window=None,
    )


def _gemma2_block(layer: Any, config: Any) -> Block:
    attention = layer.self_attn
    return Block(
        before_attention=layer.input_layernorm,
        q=attention.q_proj,
        k=attention.k_proj,
        v=attention.v_proj,
        o=attention.o_proj,
        after_attention=layer.post_attention_layernorm,
        before_mlp=layer.pre_feedforward_layernorm,
        mlp=layer.mlp,
        after_mlp=layer.post_feedforward_layernorm,
        window=attention.sliding_window,
    )


_BLOCKS = {"llama": _llama_block, "gemma2": _gemma2_block}


def architecture(model: nn.Module) -> Architecture:
    """Adapt a transformers causal language model.

    Raises:
        BadInput: The model family is none of those the engine knows.
    """
    config: Any = model.config
    family = config.model_type
    if family not in _BLOCKS:
        raise BadInput(
            f"the engine does not run models of type {family!r}",
            next=f"use one of {sorted(_BLOCKS)} or add a block adapter.",
        )
    inner: Any = model.model
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_head = getattr(config, "query_pre_attn_scalar", None) or head_dim
    return Architecture(
        embed=inner.embed_tokens,
        blocks=tuple(_BLOCKS[family](layer, config) for layer in inner.layers),
        norm=inner.norm,
        unembed=model.lm_head,  # type: ignore[arg-type]
        rotary=inner.rotary_emb,
        d_model=config.hidden_size,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        vocab=config.vocab_size,
        scale=per_head**-0.5,
        attention_softcap=getattr(config, "attn_logit_softcapping", None),
        logit_softcap=getattr(config, "final_logit_softcapping", None),
    )
