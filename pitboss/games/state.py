"""What is fixed about a game, and what its player knows before a decision."""

from dataclasses import dataclass, field

from pitboss.games.conditions import Condition


@dataclass(frozen=True)
class Rules:
    """The slot machine's constants, in one place so that prompt and play cannot disagree.

    Args:
        start: Money at the beginning, in dollars.
        win_rate: Probability that a round is won.
        payout: What a win pays, in stakes; the stake itself is spent.
        max_rounds: Rounds after which the game ends.
        fixed_bet: The stake of a fixed menu, in dollars.
        min_bet: The smallest stake of a variable menu, in dollars.
    """

    start: int = 100
    win_rate: float = 0.3
    payout: float = 3.0
    max_rounds: int = 100
    fixed_bet: int = 10
    min_bet: int = 5


@dataclass(frozen=True)
class Round:
    """One played round; ``balance`` is what is left after it, in dollars."""

    number: int
    bet: int
    won: bool
    balance: int


@dataclass(frozen=True)
class State:
    """What a player knows before a decision."""

    condition: Condition
    balance: int
    rounds: tuple[Round, ...] = ()
    rules: Rules = field(default=Rules())
