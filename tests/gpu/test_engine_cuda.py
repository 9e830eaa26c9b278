"""The engine on a CUDA device: right in float32 and bfloat16, and independent of company."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from bench.decode import random_llama_8b
from pitboss.engine import Engine, Generation, Patch, Row, Sampling
from pitboss.models.catalogue import model_spec
from pitboss.models.loading import LoadedModel

SIZES: dict[str, Any] = {
    "vocab_size": 2000,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.1,
}


class Ids:
    def decode(self, ids: list[int], **_: object) -> str:
        return " ".join(map(str, ids))


def small(family: str) -> LoadedModel:
    torch.manual_seed(3)
    if family == "llama":
        model: Any = LlamaForCausalLM(LlamaConfig(**SIZES))
    else:
        extra = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 32}
        model = Gemma2ForCausalLM(Gemma2Config(**SIZES, **extra, attn_implementation="eager"))
    return LoadedModel(
        spec=model_spec("pitboss/lab-llama"),
        model=model.cuda().eval().requires_grad_(False),
        tokenizer=Ids(),  # type: ignore[arg-type]
        device=torch.device("cuda"),
        dtype=torch.float32,
        eos_ids=frozenset({2}),
        generation_defaults={},
    )


def rows_of(loaded: LoadedModel, n: int, sampling: Sampling) -> list[Row]:
    generator = torch.Generator().manual_seed(5)
    config = loaded.model.config
    prompts = [
        tuple(torch.randint(3, config.vocab_size, (m,), generator=generator).tolist())
        for m in (60, 100)
    ]
    rows = []
    for i in range(n):
        enc, dec = (torch.randn(2, config.hidden_size, generator=generator) * 0.3).cuda()
        layer = i % config.num_hidden_layers
        patch = Patch(layer, i, enc, 0.1, 1.0, 0.0, 0.0, dec, float(i % 5))
        rows.append(Row(f"r{i}", prompts[i % 2], f"n{i}", sampling, (patch,)))
    return rows


def run(loaded: LoadedModel, rows: list[Row], **settings: Any) -> dict[str, Generation]:
    options = {"width": 64, "prefixes": 2, "keep_logits": True} | settings
    engine = Engine(loaded, seed=1, prompt_capacity=128, token_capacity=24, **options)
    return {g.key: g for g in engine.run(rows)}


def reference(loaded: LoadedModel, row: Row, tokens: tuple[int, ...]) -> torch.Tensor:
    """Uncached transformers forward with the patch at every position from the last prompt token."""
    (patch,) = row.patches
    last = len(row.prompt) - 1
    assert patch.value is not None

    def hook(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
        x = output[0, last:].float()
        v = x @ patch.enc + patch.shift
        a = torch.where(v > patch.threshold, torch.relu(v), 0.0)
        output = output.clone()
        output[0, last:] = (x + (patch.value - a)[:, None] * patch.dec).to(output.dtype)
        return output

    handle = loaded.model.model.layers[patch.layer].register_forward_hook(hook)  # type: ignore
    try:
        ids = torch.tensor([row.prompt + tokens], device="cuda")
        logits: torch.Tensor = loaded.model(ids).logits[0, last:].float().cpu()
        return logits
    finally:
        handle.remove()


def error(made: torch.Tensor | None, expected: torch.Tensor) -> float:
    assert made is not None
    expected = expected[: len(made)]
    return float((made - expected).norm() / expected.norm())


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_float32_rows_equal_the_uncached_computation(family: str) -> None:
    loaded = small(family)
    rows = rows_of(loaded, 24, Sampling(temperature=0, max_new_tokens=16))
    out = run(loaded, rows)
    for row in rows:
        g = out[row.key]
        expected = reference(loaded, row, g.tokens)
        assert error(g.logits, expected) < 1e-5
        assert expected.argmax(-1).tolist()[: len(g.tokens)] == list(g.tokens)


@pytest.mark.parametrize("prefixes", [2, None])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_float32_rows_do_not_depend_on_their_batch(family: str, prefixes: int | None) -> None:
    loaded = small(family)
    # cuBLAS splits float32 products of one prompt a slot by their number, so there the number of
    # slots reaches the last bits; with shared prompts, and in bfloat16 (below), it does not.
    _same_bits(loaded, prefixes, 100, slots=5 if prefixes else 64)


def _same_bits(loaded: LoadedModel, prefixes: int | None, n: int, slots: int = 5) -> None:
    rows = rows_of(loaded, n, Sampling(0.9, 50, 0.9, 20))
    together = run(loaded, rows, prefixes=prefixes)
    few = run(loaded, rows[::-1], slots=slots, prefixes=prefixes)
    alone = {k: g for row in rows[:4] for k, g in run(loaded, [row], prefixes=prefixes).items()}
    for other in (few, alone):
        for key, g in other.items():
            assert g.tokens == together[key].tokens
            assert g.logits is not None and together[key].logits is not None
            assert torch.equal(g.logits, together[key].logits)


@pytest.fixture(scope="module")
def eight_b() -> LoadedModel:
    return random_llama_8b()


def test_bfloat16_8b_rows_are_as_close_to_float32_as_transformers_is(
    eight_b: LoadedModel,
) -> None:
    """bfloat16 alone moves the logits of 32 random blocks by several percent, in any program."""
    rows = rows_of(eight_b, 8, Sampling(temperature=0, max_new_tokens=8))
    out = run(eight_b, rows)
    theirs = {r.key: reference(eight_b, r, out[r.key].tokens) for r in rows}
    exact = replace(eight_b, model=copy.deepcopy(eight_b.model).float())
    ours_off, theirs_off = 0.0, 0.0
    for row in rows:
        expected = reference(exact, row, out[row.key].tokens)
        ours_off += error(out[row.key].logits, expected) / len(rows)
        theirs_off += error(theirs[row.key][: len(expected)], expected) / len(rows)
    print(f"8B bfloat16 against float32: engine {ours_off:.4f}, transformers {theirs_off:.4f}")
    assert ours_off < 1.5 * theirs_off


@pytest.mark.parametrize("prefixes", [2, None])
def test_bfloat16_8b_rows_do_not_depend_on_batch_or_slots(
    eight_b: LoadedModel, prefixes: int | None
) -> None:
    _same_bits(eight_b, prefixes, 70)
