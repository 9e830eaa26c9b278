"""Small random models: big enough to tell right from wrong, small enough to need no download."""

from collections.abc import Callable

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from pitboss.models.catalogue import model_spec
from pitboss.models.loading import LoadedModel

EOS = 2
D_MODEL = 64
VOCAB = 300


class Digits:
    """A tokenizer whose text is its token ids, which is all the engine asks of one."""

    def decode(self, ids: list[int], **_: object) -> str:
        return " ".join(map(str, ids))


def _llama() -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=D_MODEL,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            initializer_range=0.15,
            rope_parameters={
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        )
    )


def _gemma2() -> Gemma2ForCausalLM:
    # The window is shorter than the prompts and soft caps are low enough to bite.
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=VOCAB,
            hidden_size=D_MODEL,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            query_pre_attn_scalar=24,
            sliding_window=16,
            attn_logit_softcapping=5.0,
            final_logit_softcapping=8.0,
            max_position_embeddings=512,
            initializer_range=0.15,
            attn_implementation="eager",
        )
    )


def _qwen3() -> Qwen3ForCausalLM:
    # Heads are wider than d_model / heads; queries and keys have norms of their own.
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCAB,
            hidden_size=D_MODEL,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=24,
            max_position_embeddings=512,
            initializer_range=0.15,
            tie_word_embeddings=True,
        )
    )


def _mistral() -> MistralForCausalLM:
    # Every block has the window, and most prompts are longer than it.
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=VOCAB,
            hidden_size=D_MODEL,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            sliding_window=16,
            max_position_embeddings=512,
            initializer_range=0.15,
            attn_implementation="eager",
        )
    )


FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": _llama,
    "gemma2": _gemma2,
    "qwen3": _qwen3,
    "mistral": _mistral,
}


def random_model(family: str, device: str = "cpu") -> LoadedModel:
    """The same weights at every call."""
    torch.manual_seed(20251001)
    model = FAMILIES[family]()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:  # norms start as the identity, under which one can be forgotten
                weight += torch.empty_like(weight).uniform_(-0.3, 0.3)
    return LoadedModel(
        spec=model_spec("pitboss/lab-llama"),
        model=model.to(device).eval().requires_grad_(False),  # type: ignore[arg-type]
        tokenizer=Digits(),  # type: ignore[arg-type]
        device=torch.device(device),
        dtype=torch.float32,
        eos_ids=frozenset({EOS}),
        generation_defaults={},
    )


def random_prompts() -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(1)
    lengths = (40, 70, 1, 23, 64, 65)
    return [tuple(torch.randint(3, VOCAB, (n,), generator=generator).tolist()) for n in lengths]
