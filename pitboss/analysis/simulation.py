"""Simulated studies: paired runs with known stop rates, tested by the rules of this package."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pitboss.analysis.exact_power import PairChances
from pitboss.analysis.proportions import Floats
from pitboss.analysis.sequential import Rule, decide, log_e

Ints = NDArray[np.int64]


class Followed(NamedTuple):
    """Features that were followed to their end under a sequential rule.

    Attributes:
        up, down: [features] discordant pairs when the feature stopped, all states together.
        pairs: [features] pairs until then.
        state: [features] effect, futile or running (went on to the last analysis).
    """

    up: Ints
    down: Ints
    pairs: Ints
    state: NDArray[np.str_]

    def log_e(self, rule: Rule) -> Floats:
        """Logarithm of each feature's e-value when it stopped."""
        return log_e(self.up, self.down, rule.prior)


class SequentialPower(NamedTuple):
    """What a sequential rule does with features of one effect.

    Attributes:
        power: Share whose e-value reached the bound.
        futile: Share that was given up.
        pairs: Mean number of pairs.
    """

    power: float
    futile: float
    pairs: float


def follow(up: Ints, down: Ints, rule: Rule) -> Followed:
    """Apply a rule to pairs that are all there: each feature is read up to where it stops.

    Args:
        up, down: [features, states, trials] 0 or 1; trials as many as the rule's last analysis has.
        rule: The rule.
    """
    features, states, trials = up.shape
    planned = states * trials
    seen_up, seen_down = up.sum(axis=1).cumsum(axis=1), down.sum(axis=1).cumsum(axis=1)
    end = np.full(features, trials, np.int64)
    state = np.full(features, "running", "<U7")
    going = np.arange(features)
    for made in rule.looks:
        u, d = seen_up[going, made - 1], seen_down[going, made - 1]
        now = decide(u, d, made * states, planned - made * states, rule)
        stopped = now != "running"
        end[going[stopped]], state[going[stopped]] = made, now[stopped]
        going = going[~stopped]
    every = np.arange(features)
    return Followed(seen_up[every, end - 1], seen_down[every, end - 1], end * states, state)


def draw_pairs(
    stop_a: ArrayLike,
    stop_b: ArrayLike,
    trials: int,
    random: np.random.Generator,
    coupling: float = 1.0,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Stops of two arms that share the noise of each trial, among features too.

    Trial t of a state has one noise for all features, as in a study: where features have the same
    stop rate, they decide alike. A share 1 - coupling of the second arm's runs draws on its own.

    Args:
        stop_a, stop_b: [features, states] stop rates.
        trials: Trials in each state.
        random: Source of the noise.
        coupling: 1 for arms and features that share all noise.

    Returns:
        Two boolean arrays [features, states, trials].
    """
    a, b = np.asarray(stop_a, np.float64)[..., None], np.asarray(stop_b, np.float64)[..., None]
    features, states, _ = a.shape
    shared = random.random((1, states, trials))
    own = shared
    if coupling < 1:
        apart = random.random((features, states, trials)) >= coupling
        own = np.where(apart, random.random((features, states, trials)), shared)
    return shared < a, own < b


def sequential_power(
    stop_a: float,
    stop_b: float,
    rule: Rule,
    *,
    bound: float,
    states: int = 1,
    coupling: float = 0.0,
    features: int = 1000,
    seed: int = 0,
) -> SequentialPower:
    """Simulate independent features of one effect.

    Args:
        stop_a, stop_b: Stop rates of the two arms, in every state.
        rule: The rule.
        bound: e from which on a feature counts as found.
        states: Prompts of one test.
        coupling: How the shared noise couples the arms.
        features: How many are simulated.
        seed: Of the generator.
    """
    chances = PairChances.of(stop_a, stop_b, coupling)
    u = np.random.default_rng(seed).random((features, states, rule.trials))
    up, down = u < chances.up, (u >= chances.up) & (u < chances.up + chances.down)
    done = follow(up.astype(np.int64), down.astype(np.int64), rule)
    found = done.log_e(rule) >= np.log(bound) - 1e-9
    return SequentialPower(
        float(found.mean()), float((done.state == "futile").mean()), float(done.pairs.mean())
    )
