"""JSON files: one way to write them, one way to read them."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pitboss.errors import BadInput
from pitboss.store.files import replace_bytes

T = TypeVar("T")


def json_bytes(obj: Any) -> bytes:
    """The object as readable JSON; NaN is refused with a ValueError."""
    return (json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def replace_json(path: Path, obj: Any) -> None:
    """Replaces a JSON file outside the studies in one step; raises as `replace_bytes` does."""
    replace_bytes(path, json_bytes(obj))


def read_value(path: Path, kind: type[T], otherwise: T, *, what: str, next_step: str) -> T:
    """Reads a JSON file outside the studies as a value of a type.

    Args:
        otherwise: Where the file does not exist.
        what: What the file holds, in the plural.

    Raises:
        BadInput: It is damaged or holds something else; next_step says what to do then.
    """
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return otherwise
    except ValueError as error:
        raise BadInput(
            f"The {what} cannot be read: {error}", where=str(path), next=next_step
        ) from error


def read_json(path: Path, next_step: str) -> Any:
    """Reads a JSON file.

    Raises:
        BadInput: The file is missing or damaged; next_step says what to do then.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput("The file does not exist.", where=str(path), next=next_step) from error
    except ValueError as error:
        raise BadInput(f"The file is not JSON: {error}", where=str(path), next=next_step) from error
