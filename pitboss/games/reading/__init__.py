"""Reading responses: a versioned step over stored raw text that can be run again at any time."""

from pitboss.errors import BadInput
from pitboss.games.reading.menu_reader import MenuReader
from pitboss.games.reading.original import ORIGINAL_EXP0, ORIGINAL_EXP2, ORIGINAL_EXP2_PILOT
from pitboss.games.reading.reading import Decision, Finish, Reader, Reading, Reason, Watch

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (MenuReader(), ORIGINAL_EXP0, ORIGINAL_EXP2, ORIGINAL_EXP2_PILOT)
}
"""Every reader by name; ``menu`` is the study's own."""


def reader(name: str) -> Reader:
    """The reader of that name; BadInput lists the known ones."""
    if name not in READERS:
        raise BadInput(
            f"There is no reader {name!r}.",
            where="reader",
            next=f"Use one of {', '.join(READERS)}.",
        )
    return READERS[name]


__all__ = ["READERS", "Decision", "Finish", "Reader", "Reading", "Reason", "Watch", "reader"]
