"""The text of a growing response against decoding all of its tokens again."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import Round, State, render
from pitboss.models.loading import LoadedModel
from pitboss.models.text import TextStream

OPEN = "\ufffd"
TEXTS = [
    "1, $10\n\nRound 4: Bet $10, Win, Balance $30\n",
    " \n  2) Stop playing. I'd rather keep my $140 ⚠️ — naïve? 賭け 🎰🎰\n\nFinal Decision: Stop",
    "Final Decision: **Bet $5**\n" * 3,
]


def whole(decode, tokens: list[int]) -> str:
    """The text of the most tokens behind which no character is left open."""
    texts = (decode(tokens[:n]) for n in range(len(tokens), -1, -1))
    return next(text for text in texts if not text.endswith(OPEN))


def test_any_tokens_give_the_text_of_decoding_them_and_nothing_is_taken_back(
    loaded: LoadedModel,
) -> None:
    vocabulary = len(loaded.tokenizer)
    # Every byte is a token of its own: characters are split, and broken, in all ways.
    split = [loaded.tokenizer(c, add_special_tokens=False)["input_ids"] for c in "é賭🎰⚠"]
    pieces = st.one_of(st.lists(st.integers(0, vocabulary - 1), max_size=4), st.sampled_from(split))

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(pieces, max_size=12))
    def holds(parts: list[list[int]]) -> None:
        tokens = [token for part in parts for token in part]
        stream, before = loaded.stream(), ""
        for n, token in enumerate(tokens, 1):
            text = stream.push(token)
            assert text == whole(loaded.decode, tokens[:n])
            assert text.startswith(before)
            before = text

    holds()


@pytest.mark.parametrize("text", TEXTS)
def test_real_text_arrives_in_full(loaded: LoadedModel, text: str) -> None:
    stream = loaded.stream()
    ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [stream.push(token) for token in ids][-1] == text
    assert stream.push(min(loaded.eos_ids)) == text  # special tokens are no text


def byte_fallback(*, strip: bool) -> SimpleNamespace:
    """As Gemma's and, with a leading space stripped, Llama 2's and Mistral's tokenizers decode."""
    words = ["<unk>", "<eos>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["▁", "▁Bet", "Bet", "▁$", "10", "\n", "▁▁", "é"]
    backend = Tokenizer(
        models.BPE(
            vocab={word: n for n, word in enumerate(words)},
            merges=[],
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if strip else [])])
    backend.add_special_tokens(["<eos>"])

    def decode(ids: list[int], **_: object) -> str:
        return str(backend.decode(ids, skip_special_tokens=True))

    def ids(text: str) -> list[int]:
        return [n + 2 for n in text.encode()]

    return SimpleNamespace(backend_tokenizer=backend, decode=decode, ids=ids, words=len(words))


@pytest.mark.parametrize("strip", [False, True])
def test_tokenizers_with_bytes_as_tokens_and_marked_spaces_stream_the_same(strip: bool) -> None:
    made = byte_fallback(strip=strip)
    pieces = st.one_of(
        st.integers(258, made.words - 1).map(lambda token: [token]),
        st.just([1]),
        st.text("é賭🎰⚠", min_size=1, max_size=2).map(made.ids),
    )

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.lists(pieces, max_size=10))
    def holds(parts: list[list[int]]) -> None:
        tokens = [token for part in parts for token in part]
        stream, before = TextStream(made), ""
        for n, token in enumerate(tokens, 1):
            text = stream.push(token)
            assert text == whole(made.decode, tokens[:n])
            assert text.startswith(before)
            before = text

    holds()


def test_a_stray_byte_that_changes_the_text_before_it_is_followed() -> None:
    made = byte_fallback(strip=False)
    stream = TextStream(made)
    tokens = [2 + ord("A"), 2 + 0xFF, 260, 260]
    texts = [stream.push(token) for token in tokens]
    assert texts == ["A", "A", f"{OPEN * 2}Bet", f"{OPEN * 2}BetBet"]
    assert texts[-1] == made.decode(tokens)


def test_a_tokenizer_that_only_decodes_will_do() -> None:
    tokenizer = SimpleNamespace(decode=lambda ids, **_: " ".join(map(str, ids)))
    stream = TextStream(tokenizer)
    assert [stream.push(token) for token in (3, 1, 2)] == ["3", "3 1", "3 1 2"]


def test_prompts_encode_as_transformers_encodes_them(loaded: LoadedModel) -> None:
    rounds = tuple(Round(n, 10, n == 2, 100 - n) for n in range(1, 8))
    for condition in ALL_CONDITIONS[::9]:
        text = render("exp0/planned", State(condition, 90, rounds)).text
        if loaded.spec.chat_template:
            expected = loaded.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True
            )["input_ids"]
        else:
            expected = loaded.tokenizer(text)["input_ids"]
        first = loaded.encode(text)
        assert first == list(expected)
        first.append(0)  # what is remembered is not the caller's list
        assert loaded.encode(text) == list(expected)
