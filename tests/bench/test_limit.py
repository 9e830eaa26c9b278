"""The ceiling's formula against configurations, counted operations and the plan's own figure."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from bench.clock import Timing, measure
from bench.limit import Limit, flop_per_token, measure_limit, multiplying_weights
from bench.shapes import gemma_9b, llama_8b, qwen3_8b
from pitboss.models.loading import LoadedModel


def weights_of(config: object) -> int:
    """The formula written out from a configuration."""
    c = config
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads  # type: ignore
    heads, kv = c.num_attention_heads * head_dim, c.num_key_value_heads * head_dim  # type: ignore
    attention = c.hidden_size * (2 * heads + 2 * kv)  # type: ignore
    mlp = 3 * c.hidden_size * c.intermediate_size  # type: ignore
    return c.num_hidden_layers * (attention + mlp) + c.vocab_size * c.hidden_size  # type: ignore


@pytest.mark.parametrize("config", [llama_8b(), gemma_9b(), qwen3_8b()], ids=["l", "g", "q"])
def test_real_shapes_have_the_weights_their_configurations_say(config: object) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    assert multiplying_weights(model) == weights_of(config)


def test_an_8b_token_costs_fifteen_gflop() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(llama_8b(), dtype=torch.bfloat16)
    assert flop_per_token(model) == pytest.approx(15.0e9, rel=0.002)


def test_the_formula_is_what_torch_counts_for_one_token(tiny: LoadedModel) -> None:
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        tiny.model(torch.tensor([[5]]))
    by_kind = counter.get_flop_counts()["Global"]
    linear = sum(n for op, n in by_kind.items() if str(op) in ("aten.mm", "aten.addmm"))
    assert flop_per_token(tiny.model) == linear


def test_share_of_the_limit() -> None:
    limit = Limit(8192, "bfloat16", 790e12, 15_000_000_000)
    assert limit.tokens_per_second == pytest.approx(52_667, rel=1e-4)
    assert limit.share(42_133) == pytest.approx(0.8, rel=1e-3)


def test_the_limit_is_measured_in_the_models_format(tiny: LoadedModel) -> None:
    limit = measure_limit(tiny.model, tiny.device, tiny.dtype)
    assert limit.dtype == "float32" and limit.flop_per_second > 1e8


def test_the_median_of_repeats_counts_and_no_call_begins_after_the_time() -> None:
    assert Timing(100, (1.0, 4.0, 2.0)).rate == 50
    slow = measure(lambda: 7, torch.device("cpu"), repeat=5, at_most=0)
    assert slow.units == 7 and len(slow.seconds) == 1
    made = iter([3, 4])
    with pytest.raises(ValueError, match="one call made 4 units, another 3|3 units"):
        measure(lambda: next(made), torch.device("cpu"), repeat=2)
