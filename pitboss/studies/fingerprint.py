"""Names for settings: the same settings give the same sixteen digits on every machine."""

import hashlib
import json
from dataclasses import asdict, is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from pitboss.errors import BadInput


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Enum):
        return value.value
    raise BadInput(
        f"A {type(value).__name__} has no canonical form.",
        where="settings to be fingerprinted",
        next="Use text, numbers, lists, mappings, dataclasses or pydantic models.",
    )


def canonical_json(obj: Any) -> str:
    """One spelling for equal settings: sorted keys, no spaces, UTF-8, no NaN or infinity.

    Raises:
        BadInput: The object contains something that JSON cannot express exactly.
    """
    try:
        return json.dumps(
            obj,
            default=_plain,
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"These settings have no canonical form: {error}.",
            where="settings to be fingerprinted",
            next="Use text keys and finite numbers.",
        ) from error


def digest(obj: Any) -> str:
    """The first sixteen hex digits of the SHA-256 of ``canonical_json(obj)``."""
    return hashlib.sha256(canonical_json(obj).encode()).hexdigest()[:16]
