"""The models that are measured: the shipped ones, and random weights of the real ones' shapes.

Speed does not depend on the weights' values, so none need be fetched.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GenerationConfig,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from pitboss.models.loading import LoadedModel, load_model
from pitboss.models.spec import ModelSpec

# No token ends a row: every program makes all the tokens it is asked for.
NO_EOS: frozenset[int] = frozenset()


def llama_8b() -> LlamaConfig:
    """LLaMA-3.1-8B, from its `config.json`."""
    return LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    )


def gemma_9b() -> Gemma2Config:
    """Gemma-2-9B, from its `config.json`."""
    return Gemma2Config(
        vocab_size=256000,
        hidden_size=3584,
        intermediate_size=14336,
        num_hidden_layers=42,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=4096,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
        max_position_embeddings=8192,
    )


def qwen3_8b() -> Qwen3Config:
    """Qwen3-8B, from its `config.json`."""
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=4096,
        intermediate_size=12288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        tie_word_embeddings=False,
    )


@dataclass(frozen=True)
class Shape:
    """One model to measure.

    Attributes:
        id: Model id; a shipped one is loaded, for any other `config` gives the shape.
        attention: transformers' attention for the alternatives: the fastest that is right.
            (Its sdpa leaves out Gemma 2's soft caps.)
    """

    id: str
    config: Callable[[], PretrainedConfig] | None = None
    attention: str = "sdpa"


SHAPES = {
    "lab-llama": Shape("pitboss/lab-llama"),
    "lab-gemma": Shape("pitboss/lab-gemma", attention="eager"),
    "llama-8b": Shape("meta-llama/Llama-3.1-8B", llama_8b),
    "gemma-9b": Shape("google/gemma-2-9b", gemma_9b, attention="eager"),
    "qwen3-8b": Shape("Qwen/Qwen3-8B", qwen3_8b),
}


def load_shape(name: str, device: torch.device, dtype: str | None = None) -> LoadedModel:
    """A model to measure, on the device.

    Args:
        dtype: "float32" or "bfloat16"; as in the catalogue if None (random weights: bfloat16).
    """
    shape = SHAPES[name]
    if shape.config is not None:
        made = dtype or "bfloat16"
        return random_model(shape.config(), shape.id, device, made, attention=shape.attention)
    loaded = load_model(shape.id, device, dtype)
    loaded.model.set_attn_implementation(shape.attention)
    loaded.model.generation_config = GenerationConfig(pad_token_id=0)
    return replace(loaded, eos_ids=NO_EOS)


def random_llama_8b() -> LoadedModel:
    """LLaMA-3.1-8B's shape with random weights, bfloat16, on the GPU."""
    return load_shape("llama-8b", torch.device("cuda"))


def random_model(
    config: Any, model_id: str, device: torch.device, dtype: str, *, attention: str = "sdpa"
) -> LoadedModel:
    """A model of this configuration with random weights (seed 0)."""
    kind = getattr(torch, dtype)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=kind, attn_implementation=attention)
    # Random weights end no text, and defaults taken from a configuration would decide silently.
    model.generation_config = GenerationConfig(pad_token_id=0)
    return LoadedModel(
        spec=_spec(model_id, config, dtype, sum(p.numel() for p in model.parameters())),
        model=model.eval().requires_grad_(False),
        tokenizer=stand_in_tokenizer(config.vocab_size),
        device=device,
        dtype=kind,
        eos_ids=NO_EOS,
        generation_defaults={},
    )


def _spec(model_id: str, config: Any, dtype: str, parameters: int) -> ModelSpec:
    """What the catalogue would say of a model of this shape."""
    heads = config.num_attention_heads
    return ModelSpec(
        id=model_id,
        revision=None,
        family=config.model_type,
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_params=parameters,
        n_kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocab_size=config.vocab_size,
        sliding_window=None,
        chat_template=False,
        dtype=dtype,
        max_positions=config.max_position_embeddings,
    )


def stand_in_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """A tokenizer for random weights: token i is the text ` i`.

    Random weights have no vocabulary of their own, but an engine that looks at the text after
    every token must pay for making it.
    """
    letters = BPE(vocab={f"\u0120{i}": i for i in range(size)}, merges=[], unk_token="\u01200")
    made = Tokenizer(letters)
    made.decoder = ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made)
