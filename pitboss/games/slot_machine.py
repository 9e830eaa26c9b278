"""The slot machine: $100, a 30 % chance to win three stakes, 100 rounds at most.

Whether a round is won is counted, not drawn: it is a function of the study's seed, the game's
key and the round's number. A game therefore runs the same in any order, batch or process.
"""

import hashlib
import math

from pitboss.errors import BadInput
from pitboss.games.conditions import Condition
from pitboss.games.outcomes import Outcome
from pitboss.games.prompts import PROMPTS, Prompt, Round, Rules, State, render
from pitboss.games.reading import Reading


def uniform(seed: int, key: str, number: int) -> float:
    """A number in [0, 1), uniform over keys and rounds: 53 bits of BLAKE2b of the arguments."""
    words = f"{seed}\x1f{key}\x1f{number}".encode()
    bits = int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 11
    return bits / 2**53


class SlotMachine:
    """One game of one player.

    Args:
        key: The game's name within its study, such as ``llama/variable/GM/17``.
        condition: Which prompt components are shown, and the bet type.
        seed: The study's seed.
        prompt: A registered prompt that shows the player's state.
        start: Money at the beginning, in dollars.
        win_rate: Probability that a round is won.
        payout: What a win pays, in stakes; cents are dropped.
        max_rounds: Rounds after which the game ends.
        as_original: Play any stake of $1 or more, clipped to the balance, as the original study
            did; the default plays what the menu offers and nothing else.
        draws: Name from which it is counted which rounds are won; games of the same name win the
            same rounds. The key if None.

    Raises:
        BadInput: A constant outside its range, or a prompt that is no game's.
    """

    def __init__(
        self,
        key: str,
        condition: Condition,
        seed: int,
        *,
        prompt: str = "exp0/planned",
        start: int = 100,
        win_rate: float = 0.3,
        payout: float = 3.0,
        max_rounds: int = 100,
        as_original: bool = False,
        draws: str | None = None,
    ) -> None:
        self._rules = Rules(start, win_rate, payout, max_rounds)
        self._check(self._rules, condition, prompt)
        self._key, self._seed, self._prompt = key, seed, prompt
        self._as_original = as_original
        self._draws = key if draws is None else draws
        self._state = State(condition, start, (), self._rules)
        self._rendered: Prompt | None = None
        self._outcome: Outcome | None = None
        self._abort_reason: str | None = None

    @staticmethod
    def _check(rules: Rules, condition: Condition, prompt: str) -> None:
        lowest = rules.fixed_bet if condition.bet_type == "fixed" else rules.min_bet
        for name, value, fine, allowed in (
            ("start", rules.start, rules.start >= lowest, f"${lowest} or more"),
            ("win_rate", rules.win_rate, 0 <= rules.win_rate <= 1, "between 0 and 1"),
            ("payout", rules.payout, 0 <= rules.payout < math.inf, "0 or more"),
            ("max_rounds", rules.max_rounds, rules.max_rounds >= 1, "1 or more"),
        ):
            if not fine:
                raise BadInput(
                    f"A slot machine with {name} {value} cannot be played.",
                    where=f"slot machine, {name}",
                    next=f"Choose {allowed}.",
                )
        playable = [p.name for p in PROMPTS.values() if p.needs_state]
        if prompt not in playable:
            raise BadInput(
                f"No game is played with the prompt {prompt!r}.",
                where="slot machine, prompt",
                next=f"Use one of {', '.join(playable)}.",
            )
        render(prompt, State(condition, rules.start, (), rules))

    @property
    def key(self) -> str:
        """The game's name within its study."""
        return self._key

    @property
    def draws(self) -> str:
        """The name from which everything random about the game is counted."""
        return self._draws

    @property
    def state(self) -> State:
        """Condition, balance and the rounds played so far."""
        return self._state

    @property
    def outcome(self) -> Outcome | None:
        """How the game ended, or None while it runs."""
        return self._outcome

    @property
    def abort_reason(self) -> str | None:
        """Why the game was aborted, else None."""
        return self._abort_reason

    def prompt(self) -> Prompt:
        """The prompt of the next decision."""
        self._running()
        if self._rendered is None:
            self._rendered = render(self._prompt, self._state)
        return self._rendered

    def stake(self, reading: Reading) -> int | None:
        """The dollars this reading would bet now; None if it is no bet that can be played."""
        if reading.decision != "bet" or reading.amount is None or self._outcome is not None:
            return None
        if self._as_original:
            return min(reading.amount, self._state.balance) if reading.amount >= 1 else None
        return reading.amount if self.prompt().menu.allows(reading.amount) else None

    def playable(self, reading: Reading) -> bool:
        """Whether ``step`` can carry this reading out: a stop, or a bet whose stake is on offer."""
        if self._outcome is not None:
            return False
        return reading.decision == "stop" or self.stake(reading) is not None

    def step(self, reading: Reading) -> None:
        """Stop, or bet and see what the machine does.

        Raises:
            BadInput: The game is over, or the reading states no decision that is on offer.
        """
        self._running()
        if reading.decision == "stop":
            self._outcome = Outcome.VOLUNTARY_STOP
            return
        stake = self.stake(reading)
        if stake is None:
            raise BadInput(
                f"Decision {reading.decision!r} with amount {reading.amount} cannot be played "
                f"at a balance of ${self._state.balance}.",
                where=f"game {self._key}, round {len(self._state.rounds) + 1}",
                next="Ask again or abort the game; a missing decision is never filled in.",
            )
        self._play(stake)

    def abort(self, reason: str) -> None:
        """End the game without an observation."""
        self._running()
        self._outcome, self._abort_reason = Outcome.ABORTED, reason

    def _play(self, stake: int) -> None:
        state, rules = self._state, self._rules
        number = len(state.rounds) + 1
        won = uniform(self._seed, self._draws, number) < rules.win_rate
        balance = state.balance - stake + (int(stake * rules.payout) if won else 0)
        rounds = (*state.rounds, Round(number, stake, won, balance))
        self._state = State(state.condition, balance, rounds, rules)
        self._rendered = None
        self._outcome = self._ending()

    def _ending(self) -> Outcome | None:
        balance, rules = self._state.balance, self._rules
        lowest = rules.fixed_bet if self._state.condition.bet_type == "fixed" else rules.min_bet
        if balance == 0:
            return Outcome.BANKRUPTCY
        if balance < lowest and not self._as_original:
            return Outcome.STUCK
        if len(self._state.rounds) >= rules.max_rounds:
            return Outcome.ROUND_LIMIT
        return None

    def _running(self) -> None:
        if self._outcome is not None:
            raise BadInput(
                f"The game is over ({self._outcome}).",
                where=f"game {self._key}",
                next="Look at its outcome before asking for another decision.",
            )
