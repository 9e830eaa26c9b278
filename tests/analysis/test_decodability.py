"""What can be decoded is found, what cannot is not, and nothing leaks between the folds."""

from typing import Any

import numpy as np
import pytest
from scipy import optimize, sparse, stats

from pitboss.analysis.decodability import PENALTY, Area, _fitted, area, deal, scores

Array = np.ndarray[Any, Any]


def played(seed: int, games: int = 40, rounds: int = 6) -> tuple[Array, Array]:
    """Game of each decision, and a label for each game: half of them stop throughout."""
    game = np.repeat([f"g{n:02d}" for n in range(games)], rounds)
    label = np.random.default_rng(seed).permutation(np.arange(games) % 2 == 0)
    return game, np.repeat(label, rounds)


def decoded(x: Any, stop: Array, game: Array, states: Array | None = None) -> Area:
    fold = deal(list(game), stop, 5)
    found = scores(x, stop, fold, None if states is None else list(states))
    assert not isinstance(found, str)
    return area(found, stop, fold, list(game if states is None else states))


def test_the_fit_minimises_the_penalised_loss_dense_and_sparse_alike() -> None:
    random = np.random.default_rng(1)
    x, new = random.normal(3, 2, (60, 5)), random.normal(3, 2, (20, 5))
    x[random.random(x.shape) < 0.5] = 0
    stop = random.random(60) < 0.4
    z = (x - x.mean(0)) / x.std(0)
    size = (z**2).sum() / 60

    def loss(w: Array) -> float:
        f = z @ w[:5] + w[5]
        ridge = PENALTY * size / 2 * w[:5] @ w[:5]
        return float(np.logaddexp(0, np.where(stop, -f, f)).sum() + ridge)

    best = optimize.minimize(loss, np.zeros(6), tol=1e-12).x
    expected = (new - x.mean(0)) / x.std(0) @ best[:5]
    np.testing.assert_allclose(_fitted(x, stop, new), expected, atol=1e-4)
    same = _fitted(sparse.csr_array(x), stop, sparse.csr_array(new))
    np.testing.assert_allclose(same, expected, atol=1e-4)


def test_a_label_at_random_for_each_game_cannot_be_decoded_from_what_names_the_game() -> None:
    """Folds of decisions would show an AUC of 1: each game's rows are alike."""
    found = []
    for seed in range(8):
        game, stop = played(seed)
        name = np.random.default_rng(seed + 100).normal(0, 1, (40, 30)).repeat(6, axis=0)
        rows = name + np.random.default_rng(seed).normal(0, 0.1, (240, 30))
        found.append(decoded(rows, stop, game).auc)
        leaky = np.random.default_rng(seed).integers(0, 5, 240)
        known = scores(rows, stop, leaky)
        assert not isinstance(known, str)
        assert area(known, stop, leaky, list(game)).auc > 0.85
    assert abs(np.mean(found) - 0.5) < 3 * np.std(found) / np.sqrt(8)
    assert abs(np.mean(found) - 0.5) < 0.08


def test_prompts_shared_between_games_are_left_out_of_the_training() -> None:
    """Every two games see the same prompts, whose labels are random: known by heart, or not."""
    by_heart, honest = [], []
    for seed in range(4):
        random = np.random.default_rng(seed)
        game = np.repeat([f"g{n:02d}" for n in range(60)], 4)
        state = np.tile(np.arange(120), 2)  # game n and game n + 30
        label, name = random.random(120) < 0.5, random.normal(0, 1, (120, 60))
        stop, x = label[state], name[state]
        by_heart.append(decoded(x, stop, game).auc)
        honest.append(decoded(x, stop, game, state.astype(str)).auc)
    assert np.mean(by_heart) > 0.65
    assert abs(np.mean(honest) - 0.5) < 0.1


def test_what_was_planted_is_decoded_and_the_interval_holds_the_truth() -> None:
    random = np.random.default_rng(4)
    game = np.repeat([f"g{n:02d}" for n in range(60)], 5)
    held = 0
    truth = stats.norm.cdf(1.5 / np.sqrt(2))  # AUC of two unit normals 1.5 apart
    for _ in range(20):
        stop = random.random(300) < 0.3
        x = random.normal(0, 1, (300, 1)) + 1.5 * stop[:, None]
        found = decoded(x, stop, game)
        held += found.low <= truth <= found.high
        assert found.auc == pytest.approx(truth, abs=0.1)
    assert held >= 16


def test_folds_share_the_stops_and_never_a_game() -> None:
    random = np.random.default_rng(5)
    game = np.array([f"g{n:02d}" for n in random.integers(0, 50, 400)])
    stop = random.random(400) < 0.1
    fold = deal(list(game), stop, 5)
    for name in np.unique(game):
        assert len(set(fold[game == name])) == 1
    counts = np.bincount(fold, stop, minlength=5)
    assert counts.max() - counts.min() <= 2


def test_too_few_decisions_are_said_not_fitted() -> None:
    game, _ = played(6, games=5)
    stop = np.zeros(30, bool)
    stop[0] = True
    assert "0 stops" in str(scores(np.ones((30, 2)), stop, deal(list(game), stop, 5)))
