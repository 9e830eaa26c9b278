"""YAML files that people write: read, checked entry by entry, refused with the entry's place."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pitboss.errors import BadInput

M = TypeVar("M", bound=BaseModel)


def read_yaml(path: Path, kind: type[M], what: str, example: str) -> M:
    """Read a file as what a model describes.

    Args:
        what: What the file is, such as survey file.
        example: A file that shows the form.

    Raises:
        BadInput: It is missing, is no YAML, or has an unknown, missing or impossible entry.
    """
    import yaml

    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        said = f"There is no such {what}"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = f"The {what} is no YAML: {' '.join(str(error).split())}"
    except ValidationError as error:
        entries = (f"{_place(e['loc'])}: {e['msg']}" for e in error.errors())
        said = f"The {what} cannot be used: {'; '.join(entries)}"
    raise BadInput(f"{said}.", where=str(path), next=f"{example} shows the form.")


def _place(loc: tuple[int | str, ...]) -> str:
    """`gpus[0].used_gb`"""
    return "".join(f"[{x}]" if isinstance(x, int) else f".{x}" for x in loc)[1:] or "the file"
