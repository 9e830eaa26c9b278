"""Training a lab model: the loss it minimises, and that a seed decides everything."""

import pytest
import torch

from pitboss.models.catalogue import MODELS
from pitboss.models.loading import LoadedModel
from training.models import Training, new_model, train
from training.tokenizer import end_of_response, train_tokenizer
from training.transcripts import transcripts

TEXTS = transcripts(3000, seed=2)
SETTINGS = Training(steps=6, batch=4, warm_up=1, learning_rate=1e-3)


@pytest.fixture(scope="module", params=["pitboss/lab-llama", "pitboss/lab-gemma"])
def spec(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def tokenizer(spec):
    return train_tokenizer(spec, TEXTS)


def _trained(spec, tokenizer) -> tuple[float, dict[str, torch.Tensor]]:
    model = new_model(spec, tokenizer, seed=3)
    loaded = LoadedModel(
        spec, model, tokenizer, torch.device("cpu"), torch.float32, frozenset(), {}
    )
    return train(loaded, TEXTS[:24], SETTINGS, lambda _line: None), model.state_dict()


def test_the_catalogues_size_is_what_is_built(spec, tokenizer):
    model = new_model(spec, tokenizer, seed=3)
    assert sum(p.numel() for p in model.parameters()) == spec.n_params


def test_a_seed_gives_the_same_model_again(spec, tokenizer):
    first, second = _trained(spec, tokenizer), _trained(spec, tokenizer)
    assert first[0] == second[0]
    assert all(torch.equal(a, second[1][name]) for name, a in first[1].items())


def test_a_few_steps_teach_something(spec, tokenizer):
    untrained = torch.log(torch.tensor(spec.vocab_size)).item()
    assert _trained(spec, tokenizer)[0] < untrained


def test_round_amounts_and_options_are_single_tokens(spec, tokenizer):
    for text in ("1", "2", "20", "100", "140", "395"):
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1
    assert end_of_response(spec) in tokenizer.get_vocab()
    text = "Round 1: Bet $1234, WIN\n⚠️ ünïcode survives: 目標"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
