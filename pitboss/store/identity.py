"""Digests of identities: equal settings give equal digests, in any process and any key order."""

import hashlib
import json
from typing import Any

from pitboss.errors import BadInput


def canonical_json(obj: Any) -> str:
    """One spelling for each value: sorted keys, no spaces, no NaN.

    Raises:
        BadInput: The object holds something that is not JSON, or keys that are not text.
    """
    _text_keys(obj)
    try:
        return json.dumps(
            obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"An identity holds a value that is not JSON: {error}",
            next="Use text, finite numbers, true, false, null, lists and objects.",
        ) from error


def digest(obj: Any) -> str:
    """The first 16 hex digits of the SHA-256 of `canonical_json(obj)`."""
    return hashlib.sha256(canonical_json(obj).encode()).hexdigest()[:16]


def _text_keys(obj: Any) -> None:
    """JSON would spell the key 1 and the key "1" alike and so let two identities share a digest."""
    if isinstance(obj, dict):
        for name, value in obj.items():
            if not isinstance(name, str):
                raise BadInput(f"An identity has the key {name!r}, which is not text.")
            _text_keys(value)
    elif isinstance(obj, list | tuple):
        for value in obj:
            _text_keys(value)
