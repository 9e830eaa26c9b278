"""The engine on a CUDA device: right in float32 and bfloat16, and independent of company."""

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
def test_float32_rows_do_not_depend_on_batch_or_slots(family: str, prefixes: int | None) -> None:
    loaded = small(family)
    _same_bits(loaded, prefixes, 100)


def _same_bits(loaded: LoadedModel, prefixes: int | None, n: int) -> None:
    rows = rows_of(loaded, n, Sampling(0.9, 50, 0.9, 20))
    together = run(loaded, rows, prefixes=prefixes)
    few = run(loaded, rows[::-1], slots=5, prefixes=prefixes)
    alone = {k: g for row in rows[:4] for k, g in run(loaded, [row], prefixes=prefixes).items()}
    for other in (few, alone):
        for key, g in other.items():
            assert g.tokens == together[key].tokens
            assert g.logits is not None and together[key].logits is not None
            assert torch.equal(g.logits, together[key].logits)


@pytest.fixture(scope="module")
def eight_b() -> LoadedModel:
    return random_llama_8b()


def test_bfloat16_8b_rows_are_close_to_transformers(eight_b: LoadedModel) -> None:
    rows = rows_of(eight_b, 16, Sampling(temperature=0, max_new_tokens=8))
    out = run(eight_b, rows)
    worst = max(error(out[r.key].logits, reference(eight_b, r, out[r.key].tokens)) for r in rows)
    print("8B bfloat16: worst relative logit error", worst)
    assert worst < 1e-2


@pytest.mark.parametrize("prefixes", [2, None])
def test_bfloat16_8b_rows_do_not_depend_on_batch_or_slots(
    eight_b: LoadedModel, prefixes: int | None
) -> None:
    _same_bits(eight_b, prefixes, 70)
