"""Comparing what should exist with what does."""

from collections.abc import Mapping
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


def require_counts(expected: Mapping[str, int], actual: Mapping[str, int]) -> None:
    """Raises Incomplete listing every count that is not as expected, missing names as 0."""
    names = [*expected, *(n for n in actual if n not in expected)]
    wrong = [
        f"{name}: {actual.get(name, 0):,} of {expected.get(name, 0):,}"
        for name in names
        if actual.get(name, 0) != expected.get(name, 0)
    ]
    if wrong:
        raise Incomplete(
            f"Actual and expected counts differ: {'; '.join(wrong)}.",
            next="Run the study again; finished parts are not computed twice.",
        )
