"""The two tiny architectures and their training on the gambler's transcripts."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from pitboss.models.catalogue import ModelSpec
from pitboss.models.loading import LoadedModel
from training.tokenizer import end_of_response
from training.transcripts import Transcript


@dataclass(frozen=True, slots=True)
class Training:
    """Settings of one training run.

    Attributes:
        steps: Optimiser steps. batch: Transcripts per step.
        learning_rate: Peak of a linear warm-up and cosine decay.
        prompt_weight: Weight of a prompt token in the loss; a response token has 1. A little
            of the prompt helps: history lines teach the model how amounts follow each other.
        amount_weight: Weight of an amount in the response, which must respect the balance.
        seed: Of the weights and the order of the transcripts.
    """

    steps: int = 1000
    batch: int = 16
    learning_rate: float = 3e-3
    warm_up: int = 40
    prompt_weight: float = 0.05
    amount_weight: float = 1.0
    seed: int = 7


@dataclass(frozen=True, slots=True)
class _Example:
    """Token ids, and the weight of each one in the loss: at most 1 in the prompt."""

    ids: list[int]
    weights: list[float]
    prompt_length: int


def new_model(spec: ModelSpec, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A lab model with fresh weights."""
    torch.manual_seed(seed)
    common = {
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.d_model,
        "intermediate_size": 384,
        "num_hidden_layers": spec.n_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": spec.n_kv_heads,
        "head_dim": spec.head_dim,
        "max_position_embeddings": spec.max_positions,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    }
    model: PreTrainedModel
    if spec.family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**common))
    else:
        # Soft caps of the real Gemma 2; the window is shorter than many prompts, so that the
        # sliding layers really slide.
        model = Gemma2ForCausalLM(
            Gemma2Config(
                **common,
                query_pre_attn_scalar=spec.head_dim,
                sliding_window=spec.sliding_window,
                attn_logit_softcapping=50.0,
                final_logit_softcapping=30.0,
            )
        )
    ends = {tokenizer.eos_token_id, tokenizer.get_vocab()[end_of_response(spec)]}
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def train(
    loaded: LoadedModel,
    texts: list[Transcript],
    settings: Training,
    report: Callable[[str], None],
) -> float:
    """Trains in place; returns the mean loss per response token over the last 50 steps.

    `texts` must hold `steps * batch` transcripts: none is seen twice.
    """
    model, end = loaded.model, end_of_response(loaded.spec)
    end_id = loaded.tokenizer.get_vocab()[end]
    examples = [_example(loaded, text, end_id, settings) for text in texts]
    model.train().requires_grad_(True)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.05
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, settings))
    recent: list[float] = []
    for step, batch in enumerate(_batches(examples, settings)):
        loss, response_loss = _losses(model, batch, loaded.tokenizer.pad_token_id)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        recent = [*recent[-49:], response_loss.item()]
        if step % 50 == 49:
            report(f"{loaded.spec.id} step {step + 1}: {sum(recent) / len(recent):.4f}")
    model.eval().requires_grad_(False)
    return sum(recent) / len(recent)


def _example(loaded: LoadedModel, text: Transcript, end_id: int, settings: Training) -> _Example:
    prompt = loaded.encode(text.prompt)
    # Tokenised apart, as generation does: no token may span prompt and response.
    response = [*loaded.tokenizer(text.response, add_special_tokens=False)["input_ids"], end_id]
    after_dollar = [False, *(loaded.decode([t]).endswith("$") for t in response[:-1])]
    weights = [settings.amount_weight if amount else 1.0 for amount in after_dollar]
    return _Example(
        [*prompt, *response], [settings.prompt_weight] * len(prompt) + weights, len(prompt)
    )


def _rate(step: int, settings: Training) -> float:
    if step < settings.warm_up:
        return (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def _batches(examples: list[_Example], settings: Training) -> Iterator[list[_Example]]:
    """Batches of similar length in random order; sorting within a window wastes little padding."""
    rng = Random(settings.seed)
    window = settings.batch * 32
    for start in range(0, settings.steps * settings.batch, window):
        chunk = sorted(examples[start : start + window], key=lambda e: len(e.ids))
        batches = [chunk[i : i + settings.batch] for i in range(0, len(chunk), settings.batch)]
        rng.shuffle(batches)
        yield from batches


def _losses(model: PreTrainedModel, batch: list[_Example], pad_id: int) -> tuple[Tensor, Tensor]:
    """Weighted cross-entropy per response token, and the plain one of the responses alone."""
    longest = max(len(e.ids) for e in batch)
    ids = torch.full((len(batch), longest), pad_id)
    weights, is_response = torch.zeros(len(batch), longest), torch.zeros(len(batch), longest)
    for row, e in enumerate(batch):
        ids[row, : len(e.ids)] = torch.tensor(e.ids)
        weights[row, : len(e.ids)] = torch.tensor(e.weights)
        is_response[row, e.prompt_length : len(e.ids)] = 1
    logits = model(input_ids=ids, attention_mask=(weights > 0).long(), use_cache=False).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    ).view(len(batch), -1)
    weights, is_response = weights[:, 1:], is_response[:, 1:]
    n_response = is_response.sum()
    return (losses * weights).sum() / n_response, (losses * is_response).sum() / n_response
