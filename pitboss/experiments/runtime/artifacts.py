"""What an experiment shows of itself, described without saying where it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TableArtifact:
    """Rows for a person.

    Attributes:
        name: Unique within the study, such as patching-effects.
        title: A sentence on what it shows.
        rest: The file below the study's folder that holds all rows; empty if this is all.
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    title: str
    rest: str = ""


@dataclass(frozen=True)
class NoteArtifact:
    """A text in Markdown."""

    name: str
    text: str
    title: str


@dataclass(frozen=True)
class FigureArtifact:
    """A picture as PNG; it is kept below the study's folder, too."""

    name: str
    png: bytes
    title: str


@dataclass(frozen=True)
class Declaration:
    """What is tested and what can be found, declared before anything runs.

    Attributes:
        document: As JSON, for declaration.json.
        text: The same as a person reads it, in Markdown.
    """

    document: Mapping[str, Any]
    text: str


Artifact = TableArtifact | NoteArtifact | FigureArtifact
