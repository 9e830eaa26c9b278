"""Loading models: tokens, ends, defaults, and clear refusals."""

import pytest
import torch
from huggingface_hub import constants

from pitboss.errors import BadInput
from pitboss.models.loading import load_model

TEXT = "Slot Machine Game\n\nCurrent balance: $140\nChoice: "


def test_a_prompt_starts_with_the_only_bos(loaded):
    ids = loaded.encode(TEXT)
    assert ids[0] == loaded.tokenizer.bos_token_id
    assert ids.count(loaded.tokenizer.bos_token_id) == 1


def test_a_prompt_that_brings_its_own_bos_is_refused(loaded):
    with pytest.raises(BadInput, match="found 2"):
        loaded.encode(f"{loaded.tokenizer.bos_token} {TEXT}")


def test_the_chat_template_is_used_exactly_where_the_catalogue_says(loaded):
    text = loaded.tokenizer.decode(loaded.encode(TEXT))
    assert ("<start_of_turn>model" in text) == loaded.spec.chat_template


def test_a_raw_prompt_keeps_every_character():
    llama = load_model("pitboss/lab-llama")
    assert llama.decode(llama.encode(TEXT)) == TEXT


def test_decoding_slices_tokens_and_drops_special_ones(loaded):
    response = loaded.tokenizer("2) Stop\nMy target is reached.", add_special_tokens=False)
    ids = [*response["input_ids"], min(loaded.eos_ids)]
    assert loaded.decode(ids) == "2) Stop\nMy target is reached."


def test_a_turn_end_stops_generation():
    gemma = load_model("pitboss/lab-gemma")
    assert gemma.tokenizer.get_vocab()["<end_of_turn>"] in gemma.eos_ids
    assert gemma.tokenizer.eos_token_id in gemma.eos_ids


def test_weights_are_frozen_and_in_the_asked_format(loaded):
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert load_model(loaded.spec.id, dtype="bfloat16").model.dtype == torch.bfloat16


def test_the_models_own_sampling_settings_are_reported(loaded):
    loaded.model.generation_config.top_p = 0.9
    try:
        from pitboss.models.loading import _generation_defaults

        assert _generation_defaults(loaded.model) == {"top_p": 0.9}
    finally:
        loaded.model.generation_config.top_p = None
    assert loaded.generation_defaults == {}


def test_an_unknown_dtype_is_refused():
    with pytest.raises(BadInput, match="float16.*float32, bfloat16"):
        load_model("pitboss/lab-llama", dtype="float16")


def test_missing_weights_without_network_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match=r"HF_HUB_OFFLINE is set.*HF_TOKEN.*hf download meta-llama"):
        load_model("meta-llama/Llama-3.1-8B")


def test_an_unreachable_hub_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(BadInput, match=r"http://127\.0\.0\.1:9 does not answer"):
        load_model("google/gemma-2-9b-it")
