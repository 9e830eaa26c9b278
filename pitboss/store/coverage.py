"""Comparing what should exist with what does."""

from dataclasses import dataclass

from pitboss.errors import Incomplete


@dataclass(frozen=True)
class Coverage:
    """Expected parts of a kind against those that exist.

    Attributes:
        kind: The kind.
        done: Expected keys whose part is there and intact, sorted.
        missing: Expected keys without an intact part, sorted.
        extra: Keys that exist though nobody expects them, sorted.
    """

    kind: str
    done: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def expected(self) -> int:
        """Number of expected parts."""
        return len(self.done) + len(self.missing)

    @property
    def complete(self) -> bool:
        """True when every expected part is there. Extra parts do not count."""
        return not self.missing

    def require(self) -> None:
        """Raises Incomplete naming the first missing keys."""
        if self.complete:
            return
        named = ", ".join(self.missing[:5]) + (", ..." if len(self.missing) > 5 else "")
        raise Incomplete(
            f"{len(self.missing)} of {self.expected} parts of kind {self.kind!r} are missing: "
            f"{named}.",
            next="Run the study again; finished parts are not computed twice.",
        )
