"""The measured work: sampled rows over few prompts, each with a patch of its own."""

from dataclasses import replace

import torch

from pitboss.engine import Patch, Request, Sampling
from pitboss.engine.request import Mode
from pitboss.models.loading import LoadedModel

TEMPERATURE, TOP_K, TOP_P = 0.7, 50, 0.9
"""As Exp2 samples: the plan's temperature, transformers' silent top-k, Llama-3.1's own top-p."""


def sampled(new_tokens: int) -> Sampling:
    """Sampling of the measured rows; every row has all its tokens in every program."""
    return Sampling(TEMPERATURE, TOP_K, TOP_P, new_tokens, new_tokens)


def greedy(new_tokens: int) -> Sampling:
    """The likeliest token each time, for comparing programs."""
    return Sampling(0.0, 0, 1.0, new_tokens, new_tokens)


def prompts_of(loaded: LoadedModel, n: int, tokens: int) -> list[tuple[int, ...]]:
    """n prompts of random token ids."""
    generator = torch.Generator().manual_seed(2)
    vocab = loaded.model.config.vocab_size
    ids = torch.randint(10, vocab, (n, tokens), generator=generator)
    return [tuple(prompt) for prompt in ids.tolist()]


def patches_of(
    loaded: LoadedModel,
    n: int,
    *,
    layer: int | None = None,
    mode: Mode = "delta",
    values: int = 1,
    seed: int = 0,
) -> list[Patch]:
    """Patches to `values` values of n features with random vectors of about unit length.

    Each feature is in a random block, or all are in `layer`.
    """
    generator = torch.Generator().manual_seed(1000 + seed)
    d, blocks = loaded.spec.d_model, loaded.spec.n_layers
    vectors = (torch.randn(n, 2, d, generator=generator) / d**0.5).to(loaded.device)
    layers = torch.randint(0, blocks, (n,), generator=generator).tolist()
    return [
        Patch(
            layer=layers[i] if layer is None else layer,
            feature=i,
            enc=vectors[i, 0],
            shift=0.0,
            scale=1.0,
            bias=0.0,
            threshold=0.0,
            dec=vectors[i, 1],
            value=2.0 + value,
            mode=mode,
        )
        for i in range(n)
        for value in range(values)
    ]


def rows_of(
    loaded: LoadedModel,
    n: int,
    sampling: Sampling,
    *,
    prompt_tokens: int,
    prompts: int = 2,
    mode: Mode | None = "delta",
    layer: int | None = None,
) -> list[Request]:
    """n rows over `prompts` prompts in turn, each with its own patch (mode None: without)."""
    texts = prompts_of(loaded, prompts, prompt_tokens)
    patches = [] if mode is None else patches_of(loaded, n, layer=layer, mode=mode)
    return [
        Request(f"{i}", texts[i % prompts], f"{i}", sampling, tuple(patches[i : i + 1]))
        for i in range(n)
    ]


def greedily(rows: list[Request], new_tokens: int) -> list[Request]:
    """The same rows with greedy sampling."""
    return [replace(row, sampling=greedy(new_tokens)) for row in rows]
