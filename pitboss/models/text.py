"""The text of a response while it grows, at a cost per token that does not grow with it."""

from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer writes in place of bytes that are no whole character."""


class TextStream:
    """Text of the tokens given so far.

    A character whose bytes are spread over several tokens is withheld until it is whole, with
    whatever else is in these tokens. So the text is that of all tokens up to the last one behind
    which no character was left open, and what it says once it goes on saying: it only grows.
    (With one exception: some tokenizers write a byte that is a letter by itself as something else
    when a stray byte follows it.)

    Args:
        tokenizer: A transformers tokenizer, or anything with its `decode`. Those without a fast
            backend are asked to decode all tokens again at each step.
    """

    __slots__ = ("_backend", "_stream", "_text", "_tokenizer", "_tokens")

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._backend: Any = fast_backend(tokenizer)
        self._stream = DecodeStream(skip_special_tokens=True) if self._backend else None
        self._tokens: list[int] = []
        self._text = ""

    def push(self, token: int) -> str:
        """Take one more token; returns the text so far, without special tokens."""
        self._tokens.append(token)
        if self._stream is None:
            return self._whole()
        try:
            piece = self._stream.step(self._backend, token)
        except Exception:  # tokenizers raises nothing more special
            # The text changed before the last token (see the class), which its stream refuses.
            self._stream = None
            return self._whole()
        if piece:
            self._text += piece
        return self._text

    def _whole(self) -> str:
        text = decode(self._tokenizer, self._tokens)
        if not text.endswith(INCOMPLETE):
            self._text = text
        return self._text


def decode(tokenizer: Any, ids: list[int]) -> str:
    """Text of token ids, without special tokens."""
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def fast_backend(tokenizer: Any) -> Tokenizer | None:
    """The tokenizers library's object behind a transformers tokenizer, where there is one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend if isinstance(backend, Tokenizer) else None
