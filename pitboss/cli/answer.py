"""What a command answers: a view for people, data for machines, an exit status."""

from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

NOT_SO = 3
"""Exit status of "not complete" and "not comparable"."""


@dataclass(frozen=True)
class Answer:
    """What a command answers.

    Attributes:
        view: For a terminal.
        data: The same for --json.
        status: Exit status.
        raw: Bytes to write instead of either.
    """

    view: RenderableType
    data: Any
    status: int = 0
    raw: bytes | None = None
