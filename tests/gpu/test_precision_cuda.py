"""Products in 8 bits: close to bfloat16, and a request's bits its own."""

import pytest
import torch

from bench.precision import precision
from bench.settings import Settings
from bench.shapes import load_shape
from pitboss.engine import Engine, EngineConfig, Sampling
from tests.gpu.small import error, requests_of, small

pytestmark = pytest.mark.skipif(
    torch.cuda.get_device_capability() < (8, 9), reason="no 8-bit matrix products"
)
CUDA = torch.device("cuda")


def test_a_shipped_model_decides_in_8_bits_almost_as_in_bfloat16() -> None:
    settings = Settings(
        shape="lab-llama", device=CUDA, width=256, rows=256, chunk=1, games=1, prompt_tokens=100
    )
    made = precision(load_shape("lab-llama", CUDA), settings)
    assert not made["failed"] and set(made["formats"]) == {"float32", "bfloat16", "fp8"}
    assert set(made["differences"]) == {
        "fp8 against bfloat16",
        "bfloat16 against float32",
        "fp8 against float32",
    }
    rough, fine = (made["differences"][f"{name} against float32"] for name in ("fp8", "bfloat16"))
    assert fine["p_stop"]["mean_change"] < rough["p_stop"]["mean_change"] < 0.05
    assert rough["log_odds_shift"]["error_over_effect"] < 0.5


@pytest.mark.parametrize("fast", [True, False])
def test_a_requests_bits_in_8_bits_are_its_own(fast: bool) -> None:
    loaded = small("llama", torch.bfloat16)
    requests = requests_of(loaded, 40, Sampling(0.9, 50, 0.9, 8))

    def run(some: list, slots: int) -> dict:  # type: ignore[type-arg]
        config = EngineConfig(
            width=64, slots=slots, micro_batches=1, prompt_capacity=128, token_capacity=24,
            prefixes=2, keep_logits=True, precision="fp8", fast=fast,
        )  # fmt: skip
        return {g.key: g for g in Engine(loaded, config, seed=1).run(some)}

    together, apart = run(requests, 64), run(requests[::-1], 5)
    for key, g in apart.items():
        assert g.tokens == together[key].tokens
        assert torch.equal(g.logits, together[key].logits)


def test_the_compiled_path_in_8_bits_is_as_close_to_bfloat16_as_the_plain_path() -> None:
    loaded = small("llama", torch.bfloat16)
    requests = requests_of(loaded, 16, Sampling(temperature=0, max_new_tokens=1))

    def run(fast: bool, precision: str | None) -> dict:  # type: ignore[type-arg]
        config = EngineConfig(
            width=64, prompt_capacity=128, token_capacity=24, prefixes=2,
            keep_logits=True, precision=precision, fast=fast,  # type: ignore[arg-type]
        )  # fmt: skip
        return {g.key: g.logits for g in Engine(loaded, config, seed=1).run(requests)}

    exact = run(False, None)
    fast, plain = (
        sum(error(logits, exact[key]) for key, logits in run(way, "fp8").items())
        for way in (True, False)
    )
    assert 0 < fast < 1.5 * plain
