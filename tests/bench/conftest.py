"""The shipped LLaMA, and a smaller one with random weights."""

import pytest
import torch
from transformers import LlamaConfig

from bench.settings import Settings
from bench.shapes import load_shape, random_model
from pitboss.models.loading import LoadedModel

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The models are so small that a second thread only makes the first one wait."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def lab() -> LoadedModel:
    return load_shape("lab-llama", CPU)


@pytest.fixture(scope="session")
def tiny() -> LoadedModel:
    config = LlamaConfig(
        vocab_size=120,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.2,
    )
    return random_model(config, "random/tiny", CPU, "float32")


@pytest.fixture
def settings() -> Settings:
    return Settings(
        shape="lab-llama",
        device=CPU,
        width=16,
        rows=32,
        chunk=1,
        games=4,
        seconds=0.1,
        prompt_tokens=20,
        new_tokens=4,
        repeat=2,
        screen_width=64,
        whole=True,
        rounds=2,
    )
