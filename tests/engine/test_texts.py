"""Finished requests' texts are transformers' own, letter by letter."""

from dataclasses import replace
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import BPE, WordPiece
from transformers import PreTrainedTokenizerFast

from pitboss.engine.in_flight import texts_of
from pitboss.models.loading import LoadedModel, load_model
from pitboss.models.text import fast_backend
from tests.engine.families import random_model

SPECIAL = ["<s>", "</s>", "<pad>"]


def with_tokenizer(tokenizer: Any) -> LoadedModel:
    return replace(random_model("llama"), tokenizer=tokenizer)


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Words marked by ▁, bytes of unknown letters, as LLaMA 2 and Gemma have them."""
    pieces = ["<unk>", *SPECIAL, *(f"<0x{i:02X}>" for i in range(256))]
    pieces += ["▁stop", "▁bet", "ting", "▁", "▁▁", ".", "\n", "$"]
    made = Tokenizer(BPE({p: i for i, p in enumerate(pieces)}, [], byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    made.add_special_tokens([AddedToken(s, special=True) for s in SPECIAL])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", bos_token="<s>")


def word_pieces() -> PreTrainedTokenizerFast:
    """Of those that clean up spaces where they are not told otherwise."""
    pieces = ["[UNK]", *SPECIAL, "stop", "##ping", ".", "don", "'", "t"]
    made = Tokenizer(WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    made.decoder = decoders.WordPiece(cleanup=False)
    return PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=True)


class Shouting(PreTrainedTokenizerFast):
    """A tokenizer that decodes in a way of its own."""

    def _decode(self, *args: Any, **kwargs: Any) -> str:
        return super()._decode(*args, **kwargs).upper()


@pytest.mark.parametrize("name", ["llama", "gemma", "sentencepiece", "wordpiece"])
def test_the_backend_gives_the_same_text(name: str) -> None:
    if name in ("llama", "gemma"):
        loaded = load_model(f"pitboss/lab-{name}")  # byte-level
    else:
        loaded = with_tokenizer(sentencepiece_like() if name == "sentencepiece" else word_pieces())
    backend = fast_backend(loaded.tokenizer)
    assert backend is not None
    size = backend.get_vocab_size()
    text = texts_of(loaded)
    assert text != loaded.decode
    every = list(range(size))
    samples = [[], every, every[::-1], *([i] for i in every)]
    samples += [[(7 * i * i + n) % size for i in range(40)] for n in range(200)]
    for ids in samples:
        assert text(ids) == loaded.decode(ids)


def test_a_tokenizer_of_its_own_kind_is_asked_itself() -> None:
    loaded = with_tokenizer(Shouting(tokenizer_object=sentencepiece_like().backend_tokenizer))
    ids = [260, 261]
    assert texts_of(loaded)(ids) == loaded.decode(ids) == " STOP BET"
    assert texts_of(random_model("llama"))([5, 6]) == "5 6"  # none of transformers'
