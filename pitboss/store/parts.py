"""Content keys of parts, references to them, and the record that makes a part count."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pitboss.errors import BadInput
from pitboss.store.identity import digest

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]*")


@dataclass(frozen=True)
class PartRef:
    """Points at a finished part; small and JSON-able, the only thing a task returns.

    Attributes:
        kind: The part's kind.
        key: Its content key.
        path: Its file, relative to the study's folder.
        rows: Its number of rows.
        sha256: Hash of its bytes.
    """

    kind: str
    key: str
    path: str
    rows: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        """The reference as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "PartRef":
        """The reference back from `as_dict`."""
        return cls(**data)


@dataclass(frozen=True)
class Record:
    """What the store knows of a finished part. It is written last: without it, no part.

    Attributes:
        ref: The part.
        size: Size of its file in bytes.
        identity: Everything that determines its rows.
        facts: What does not: seconds, device, and the like.
        manifest: Digest of the study's manifest.
    """

    ref: PartRef
    size: int
    identity: dict[str, Any]
    facts: dict[str, Any]
    manifest: str

    def to_json(self) -> bytes:
        """The record's file."""
        body = asdict(self.ref) | {k: v for k, v in asdict(self).items() if k != "ref"}
        return (json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """The record back from its file; raises KeyError, TypeError or ValueError if damaged."""
        body = json.loads(text)
        named = ("kind", "key", "path", "rows", "sha256")
        ref = PartRef(**{name: body.pop(name) for name in named})
        return cls(ref=ref, **body)


def part_key(slug: str, identity: Mapping[str, Any]) -> str:
    """Content key of a part: a readable slug and a digest of all that determines the rows.

    Args:
        slug: Words for a person, such as "llama/L12/003"; "/" makes folders.
        identity: Settings, hashes, seeds; JSON values only.
    """
    key = f"{slug}-{digest(identity)}"
    check_key(key)
    return key


def check_key(key: str) -> None:
    """Raises BadInput unless the key is safe as a path below the study's folder."""
    if all(_SEGMENT.fullmatch(segment) for segment in key.split("/")) and len(key) <= 200:
        return
    raise BadInput(
        f"{key!r} cannot be a part's key.",
        next="Use letters, digits and . _ = + - in segments of a slug divided by '/'.",
    )


def check_identity(key: str, identity: Mapping[str, Any]) -> None:
    """Raises BadInput unless the key ends with the digest of the identity."""
    check_key(key)
    if not key.endswith(f"-{digest(identity)}"):
        raise BadInput(
            f"Key {key!r} was not made from this identity (digest {digest(identity)}).",
            next="Make the key with part_key(slug, identity) from the same identity.",
        )
