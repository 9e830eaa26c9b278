"""The 64 prompt conditions: every subset of five components, times two bet types."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

from pitboss.errors import BadInput

BetType = Literal["fixed", "variable"]

COMPONENTS = "GMRWP"
"""Goal, Maximise, hidden patteRns (called H in the later papers), Win multiplier, Probability."""

BET_TYPES: tuple[BetType, ...] = get_args(BetType)


@dataclass(frozen=True, order=True)
class Condition:
    """One cell of the design.

    Args:
        components: Letters out of ``COMPONENTS``, in that order; empty for the bare prompt.
        bet_type: ``fixed`` offers one stake, ``variable`` any stake up to the balance.

    Raises:
        BadInput: The letters are unknown, repeated or out of order, or the bet type is unknown.
    """

    components: str
    bet_type: BetType

    def __post_init__(self) -> None:
        canonical = "".join(c for c in COMPONENTS if c in self.components)
        if self.components != canonical:
            raise BadInput(
                f"{self.components!r} is no set of prompt components.",
                where="condition components",
                next=f"Write letters out of {COMPONENTS}, each once and in that order"
                + (f", here {canonical!r}." if canonical else ", or BASE for none."),
            )
        if self.bet_type not in BET_TYPES:
            raise BadInput(
                f"{self.bet_type!r} is no bet type.",
                where="condition bet type",
                next=f"Use one of {', '.join(BET_TYPES)}.",
            )

    @property
    def name(self) -> str:
        """The component letters, or ``BASE`` for none of them."""
        return self.components or "BASE"

    @property
    def key(self) -> str:
        """The one canonical spelling, such as ``variable/GMRWP``."""
        return f"{self.bet_type}/{self.name}"

    @classmethod
    def parse(cls, key: str) -> "Condition":
        """Read a key such as ``fixed/BASE``; only the canonical spelling is accepted."""
        bet_type, slash, name = key.partition("/")
        if not slash or bet_type not in BET_TYPES or not name:
            raise BadInput(
                f"{key!r} is no condition.",
                where="condition key",
                next="Write <bet type>/<components>, such as variable/GMRWP or fixed/BASE; "
                f"bet types are {', '.join(BET_TYPES)}, components letters of {COMPONENTS}.",
            )
        return cls("" if name == "BASE" else name, "fixed" if bet_type == "fixed" else "variable")


ALL_CONDITIONS: tuple[Condition, ...] = tuple(
    Condition("".join(letters), bet_type)
    for bet_type in BET_TYPES
    for size in range(len(COMPONENTS) + 1)
    for letters in combinations(COMPONENTS, size)
)
"""All 64, fixed before variable, fewer components first, then in component order."""
