"""JSON files: one way to write them, one way to read them."""

import json
from pathlib import Path
from typing import Any

from pitboss.errors import BadInput
from pitboss.store.files import replace_bytes


def json_bytes(obj: Any) -> bytes:
    """The object as readable JSON; NaN is refused with a ValueError."""
    return (json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def replace_json(path: Path, obj: Any) -> None:
    """Replaces a JSON file outside the studies in one step; raises as `replace_bytes` does."""
    replace_bytes(path, json_bytes(obj))


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
