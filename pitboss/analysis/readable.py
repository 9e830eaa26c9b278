"""How many of some responses state a decision, and why the others do not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

COLUMNS = ["decision", "reason", "finish"]
"""Columns that `stated` needs."""


@dataclass(frozen=True)
class Stated:
    """Counts of some responses; those of several parts add up.

    Attributes:
        responses: All of them.
        readable: Those that state a decision. One that an original reader made up is not stated.
        cut_off: Those that reached the token limit before they stated one.
        reasons: Why the others do not, as the reader says.
    """

    responses: int = 0
    readable: int = 0
    cut_off: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Stated") -> "Stated":
        return Stated(
            self.responses + other.responses,
            self.readable + other.readable,
            self.cut_off + other.cut_off,
            dict(sorted((Counter(self.reasons) + Counter(other.reasons)).items())),
        )

    def as_dict(self) -> dict[str, Any]:
        """As summary.json has it."""
        return {
            "valid": self.readable,
            "responses": self.responses,
            "rate": self.readable / self.responses if self.responses else None,
            "reasons": dict(self.reasons),
            "cut_off": self.cut_off,
        }


def stated(responses: pd.DataFrame) -> Stated:
    """Count responses.

    Args:
        responses: Columns decision, reason and finish of the kinds `decisions` or `trials`.
    """
    # Beside a bet or a stop a reason marks a decision that the text does not hold.
    without = responses[(responses["decision"] == "none") | responses["reason"].notna()]
    reasons = without["reason"].value_counts().sort_index()
    return Stated(
        len(responses),
        len(responses) - len(without),
        int((without["finish"] == "length").sum()),
        {str(reason): int(count) for reason, count in reasons.items()},
    )
