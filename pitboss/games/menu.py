"""What a prompt offers, so that a response can be read under the prompt's own limits."""

from dataclasses import dataclass
from typing import Literal

from pitboss.games.conditions import BetType

MenuStyle = Literal["choice", "final_decision"]


@dataclass(frozen=True)
class Menu:
    """The options of one prompt.

    Args:
        style: ``choice`` asks for the option's number right after ``Choice:``;
            ``final_decision`` asks for a last line ``Final Decision: <Bet $X or Stop>``.
        bet_type: Whether option 1 names one stake or a range.
        min_bet: Smallest stake offered, in dollars.
        max_bet: Largest stake the text offers, in dollars, even where it exceeds the balance.
        fixed_bet: The one stake of a fixed menu, else None.
        balance: What the player owns, in dollars.
    """

    style: MenuStyle
    bet_type: BetType
    min_bet: int
    max_bet: int
    fixed_bet: int | None
    balance: int

    @property
    def highest(self) -> int:
        """Largest stake that is both offered and affordable, in dollars."""
        return min(self.max_bet, self.balance)

    def allows(self, amount: int) -> bool:
        """Whether a stake of ``amount`` dollars is offered and affordable."""
        if self.fixed_bet is not None and amount != self.fixed_bet:
            return False
        return self.min_bet <= amount <= self.highest
