"""Errors that say what happened, where, and what to do next."""


class PitbossError(Exception):
    """Base of every error a user can meet.

    Args:
        what: What is wrong, in one sentence.
        where: The file, field, layer or device concerned.
        next: What the user can do about it.
    """

    def __init__(self, what: str, *, where: str = "", next: str = "") -> None:
        self.what, self.where, self.next = what, where, next
        parts = [what]
        if where:
            parts.append(f"Where: {where}.")
        if next:
            parts.append(f"Next: {next}")
        super().__init__(" ".join(parts))


class BadInput(PitbossError):
    """The user's input cannot be carried out; no work has started."""


class Mismatch(BadInput):
    """A file belongs to another study, model, SAE, gate, hook point or prompt set."""


class Incomplete(PitbossError):
    """Fewer or more rows exist than the study asks for."""


class PoorResponses(PitbossError):
    """So few responses are of use that an experiment does not go on."""


class OutOfMemory(PitbossError):
    """The device ran out of memory; the same work may fit with fewer slots."""
