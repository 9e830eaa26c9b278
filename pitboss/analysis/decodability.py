"""Whether the coming decision can be read off what the model holds before it answers.

A logistic regression with a ridge penalty is fitted on some games and scored on the others; the
area under the ROC curve (AUC) is the chance that a decision to stop gets a higher score than one to
bet. What can be decoded is there; whether the model uses it is another question.

- Games, never decisions, are dealt into folds, so that no game is in training and test at once.
- Under the grouping `state`, training rows whose prompt also occurs in the test fold are left out:
  equal prompts have equal activations, and a fit could know them by heart.
- Pairs are compared within their fold: scores of different fits have different origins, and pooling
  them would show an AUC below 1/2 where there is nothing to decode.
- The interval is the bootstrap's over games (or states), not over decisions.

With more columns than rows the fit is done in the space of the rows: w = X'a, so that 32,768
features cost no more than 300 decisions do.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Inputs = Any
"""float64 [n, columns], dense or a scipy csr_array."""

RESAMPLES = 1000
PENALTY = 1.0
"""Ridge penalty on a fit whose columns have variance 1 and whose rows have mean square length 1."""

_STEPS, _TOLERANCE = 100, 1e-8


class Area(NamedTuple):
    """An AUC, its 95 % interval, and the bootstrap's draws, by which two of them are compared."""

    auc: float
    low: float
    high: float
    draws: Floats


def deal(games: Sequence[str], stop: Bools, folds: int) -> Ints:
    """[n] fold of each decision: games are dealt so that each fold gets its share of the stops.

    Args:
        games: [n] game of each decision.
        stop: [n] whether it is a decision to stop.
    """
    names, place = np.unique(np.asarray(games, dtype=str), return_inverse=True)
    stops, sizes = np.bincount(place, stop), np.bincount(place)
    mixed = [hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in names]
    held, filled = np.zeros(folds), np.zeros(folds)
    of_game = np.zeros(len(names), np.int64)
    for game in sorted(range(len(names)), key=lambda g: (-stops[g], mixed[g])):
        fold = (
            min(range(folds), key=lambda f: (held[f], filled[f]))
            if stops[game]
            else int(np.argmin(filled))
        )
        of_game[game] = fold
        held[fold] += stops[game]
        filled[fold] += sizes[game]
    return of_game[place]


def scores(
    inputs: Inputs, stop: Bools, fold: Ints, states: Sequence[str] | None = None
) -> Floats | str:
    """[n] each decision's score by a fit on the other folds, or why there is none.

    Args:
        inputs: [n, columns].
        stop: [n] whether it is a decision to stop.
        fold: [n] fold of each decision.
        states: [n] prompt of each decision; training rows that share one with the test are left
            out. None: they stay.
    """
    prompts = None if states is None else np.unique(np.asarray(states), return_inverse=True)[1]
    found = np.zeros(len(stop))
    for number in np.unique(fold):
        test = fold == number
        train = ~test
        if prompts is not None:
            train &= ~np.isin(prompts, prompts[test])
        if min(stop[train].sum(), (~stop[train]).sum()) < 2:
            return (
                f"fold {number + 1} leaves {int(stop[train].sum())} stops and "
                f"{int((~stop[train]).sum())} bets to fit on"
            )
        found[test] = _fitted(inputs[train], stop[train], inputs[test])
    return found


def _fitted(train: Inputs, stop: Bools, test: Inputs) -> Floats:
    """Scores [tests] of a ridge logistic regression; the intercept carries no penalty."""
    mean, spread = _moments(train)
    used = spread > 1e-9 * np.maximum(np.abs(mean), 1e-30)
    if not used.any():
        return np.zeros(test.shape[0])
    scale = np.where(used, 1 / np.where(used, spread, 1.0), 0.0)
    a, b = _scaled(train, scale), _scaled(test, scale)
    centre = mean * scale
    kernel = _products(a, a, centre)
    size = float(np.trace(kernel)) / len(kernel)
    weights = _newton(kernel / size, stop.astype(np.float64))
    return np.asarray(_products(b, a, centre) / size @ weights)


def _moments(x: Inputs) -> tuple[Floats, Floats]:
    mean = np.asarray(x.mean(axis=0), np.float64).ravel()
    squared = x.multiply(x) if sparse.issparse(x) else x * x
    square = np.asarray(squared.mean(axis=0), np.float64).ravel()
    return mean, np.sqrt(np.maximum(square - mean**2, 0.0))


def _scaled(x: Inputs, scale: Floats) -> Inputs:
    return sparse.csr_array(x.multiply(scale[None])) if sparse.issparse(x) else x * scale


def _products(left: Inputs, right: Inputs, centre: Floats) -> Floats:
    """Inner products of the rows, each taken from the centre."""
    product = left @ right.T
    whole = product.toarray() if sparse.issparse(product) else np.asarray(product)
    a, b = np.asarray(left @ centre).ravel(), np.asarray(right @ centre).ravel()
    return np.asarray(whole - a[:, None] - b[None] + centre @ centre, np.float64)


def _newton(kernel: Floats, y: Floats) -> Floats:
    """Dual weights [n] of min Σ log-loss + PENALTY/2 · a'Ka, with an intercept left free."""
    n = len(y)
    a: Floats = np.zeros(n)
    intercept = float(np.log(y.mean() / (1 - y.mean())))
    system, right = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
    system[:n, n] = system[n, :n] = 1.0
    for _ in range(_STEPS):
        f = kernel @ a + intercept
        p = expit(f)
        weight = np.maximum(p * (1 - p), 1e-6)
        system[:n, :n] = kernel
        system[np.arange(n), np.arange(n)] += PENALTY / weight
        right[:n] = f + (y - p) / weight
        solved = np.linalg.solve(system, right)
        moved = float(np.abs(solved[:n] - a).max())
        a, intercept = np.asarray(solved[:n], np.float64), float(solved[n])
        if moved < _TOLERANCE:
            break
    return a


def area(score: Floats, stop: Bools, fold: Ints, groups: Sequence[str], *, seed: int = 0) -> Area:
    """The AUC over pairs of the same fold, with the bootstrap's interval over groups.

    Args:
        score: [n] of each decision.
        stop: [n] whether it is a decision to stop.
        fold: [n] fold of each decision.
        groups: [n] what is drawn with replacement.
        seed: Of the draws.
    """
    higher = score[stop][:, None] - score[~stop][None]
    together = (fold[stop][:, None] == fold[~stop][None]).astype(np.float64)
    won = (0.5 * (np.sign(higher) + 1)) * together
    place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    number = int(place.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(
        number, np.full(number, 1 / number), size=RESAMPLES
    )
    weight = drawn[:, place].astype(np.float64)
    stops, bets = weight[:, stop], weight[:, ~stop]
    pairs = ((stops @ together) * bets).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = ((stops @ won) * bets).sum(1) / pairs
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Area(float(won.sum() / together.sum()), float(low), float(high), draws)
