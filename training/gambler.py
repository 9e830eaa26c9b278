"""A noisy gambler who chases losses: whether he stops, how much he bets, and what he says.

His habits are made up, but shaped after what the study looks for: he stops the sooner the more he
has won, plays on while he loses, bets more after losses where he may, and listens to the prompt:
a goal or the order to maximise makes him play on, knowing the odds makes him stop. What he says
depends on what he does and why, so that a word analysis has something to find.
"""

from dataclasses import dataclass
from math import exp, inf
from random import Random

from pitboss.games.prompts import State


@dataclass(frozen=True, slots=True)
class Situation:
    """What his decision depends on.

    Attributes:
        balance: Money left, in dollars.
        losses: Lost rounds in a row up to now.
        played: Rounds played so far.
        components: Prompt components he has read, letters of GMRWP.
        variable: Whether he may choose the amount.
        highest_bet: Most that the prompt offers, where this may be less than the balance.
    """

    balance: int
    losses: int
    played: int
    components: str
    variable: bool
    highest_bet: int = 10**9


@dataclass(frozen=True, slots=True)
class Move:
    """His decision, None for stopping or the dollars he bets, and why."""

    amount: int | None
    words: str


# What each prompt component adds to the log-odds of stopping.
_PULL = {"G": -0.9, "M": -0.8, "R": -0.3, "W": -0.2, "P": 0.6}


def situation_of(state: State) -> Situation:
    """Reads a slot machine's state."""
    losses = 0
    for played in reversed(state.rounds):
        if played.won:
            break
        losses += 1
    return Situation(
        balance=state.balance,
        losses=losses,
        played=len(state.rounds),
        components=state.condition.components,
        variable=state.condition.bet_type == "variable",
    )


def stop_log_odds(s: Situation) -> float:
    """Log-odds of stopping in a game over many rounds."""
    gain = max(s.balance - 100, 0) / 100
    log_odds = -1.0 + sum(_PULL[c] for c in s.components)
    log_odds += gain * (3.4 if "G" in s.components else 1.8)  # the goal is reached
    log_odds -= 0.4 * min(s.losses, 4)  # chasing
    log_odds += 0.12 * s.played  # boredom; it also ends most games long before round 100
    return log_odds - (0.2 if s.variable else 0.0)


def single_choice_log_odds(s: Situation) -> float:
    """Log-odds of stopping at a one-off choice prompt.

    Flat on purpose: both Exp2 scenes must leave the stop rate room to move either way.
    """
    return -0.25 + 0.2 * (s.balance - 100) / 100 - 0.1 * min(s.losses, 4)


def decide(s: Situation, log_odds: float, rng: Random) -> Move:
    """Draws a decision and its reason."""
    if log_odds > -inf and rng.random() < 1 / (1 + exp(-log_odds)):
        return Move(None, _say(_stop_reasons(s), rng))
    amount = _stake(s, rng) if s.variable else 10
    return Move(amount, _say(_bet_reasons(s, amount), rng))


def _say(reasons: list[str], rng: Random) -> str:
    """One of the reasons, now and then a second one."""
    first, second = rng.choice(reasons), rng.choice(reasons)
    return first if first == second or rng.random() < 0.75 else f"{first} {second}"


def _stake(s: Situation, rng: Random) -> int:
    """A bet of at least $5 and at most the balance, growing with the losing streak.

    Few round amounts, and ladders that depend on the balance only coarsely, so that a small model
    can learn what is affordable; all-in copies a number that stands in the prompt.
    """
    eagerness = min(s.losses, 4) + ("M" in s.components) + ("G" in s.components)
    limit = min(s.balance, s.highest_bet)
    if limit <= 20 or rng.random() < 0.04 + 0.07 * eagerness:
        return limit
    if limit < 40:
        ladder = [10, 20]
    elif limit < 70:
        ladder = [10, 20, 30, 40]
    elif limit < 100:
        ladder = [10, 20, 30, 50, 60]
    else:
        ladder = [10, 20, 30, 50, 80, 100]
    rung = eagerness * (len(ladder) - 1) / 7 + rng.gauss(0.6, 0.9)
    return ladder[max(0, min(round(rung), len(ladder) - 1))]


def _stop_reasons(s: Situation) -> list[str]:
    reasons = ["The house always wins in the end.", "I prefer to keep my money."]
    if s.balance > 100:
        reasons += ["I am ahead and lock in my profit.", "My winnings are safe with me."]
    elif s.balance < 100:
        reasons += ["I have lost enough today.", "I protect what is left."]
    else:
        reasons += ["I still have all my money.", "There is no need to gamble."]
    if "G" in s.components and s.balance >= 130:
        reasons += ["My target is reached."] * 2
    if "P" in s.components:
        reasons += ["Winning 30% of the time is too rare."] * 2
    return reasons


def _bet_reasons(s: Situation, amount: int) -> list[str]:
    reasons = ["I feel lucky.", "One more round is fun."]
    if s.losses >= 3:
        reasons += ["My luck must turn now.", "I have to win my losses back."] * 2
    elif s.losses >= 1:
        reasons += ["I want to win it back.", "A win is due soon."] * 2
    elif s.played:
        reasons += ["I am on a hot streak.", "The machine is paying."] * 2
    if amount == min(s.balance, s.highest_bet):
        reasons += ["All or nothing this time."] * 3
    elif s.variable and amount <= 10:
        reasons += ["A small bet risks little."]
    if "G" in s.components:
        reasons += ["My target is still ahead."] * 2
    if "M" in s.components:
        reasons += ["I chase the biggest reward."] * 2
    if "R" in s.components:
        reasons += ["I see a hidden pattern."]
    if "W" in s.components:
        reasons += ["A triple payout is worth it."]
    return reasons
