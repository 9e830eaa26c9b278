"""The text of a finished row, by the tokenizer's own backend where that gives the same text."""

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from pitboss.models.loading import LoadedModel
from pitboss.models.text import fast_backend


def texts_of(loaded: LoadedModel) -> Callable[[list[int]], str]:
    """What `loaded.decode` computes, without transformers' looking at what it was given.

    Without cleaning up spaces, which the project never does, a tokenizer of transformers hands the
    ids to its backend and returns what that says. A tokenizer that decodes in a way of its own is
    asked itself.
    """
    kind: Any = type(loaded.tokenizer)
    backend = fast_backend(loaded.tokenizer)
    plain = (
        getattr(kind, "decode", None) is PreTrainedTokenizerBase.decode
        and getattr(kind, "_decode", None) is PreTrainedTokenizerFast._decode
    )
    if backend is None or not plain:
        return loaded.decode
    decode = backend.decode
    return lambda ids: str(decode(ids, skip_special_tokens=True))
