"""How the decision to stop forms from layer to layer and from round to round.

1. In each layer, every feature's activation at decisions to stop is compared with that at decisions
   to bet (Cohen's d, Welch, Benjamini-Hochberg over all layers); the largest |d| are the layer's
   top features.
2. For the curve, games are dealt into two halves. Features are chosen in one half and scored in the
   other, so that the curve does not show its own choice. A decision's score is the mean over the
   chosen features of sign(d) (activation - mean) / pooled sd: above 0 it is more like a stop than
   the average decision. (The overall mean, because its error is independent of the error in d by
   which features were chosen; the midpoint of stops and bets would shift every score down.)
3. Scores are averaged by layer, outcome of the game and decisions left until its end.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from pitboss.errors import BadInput
from pitboss.saes.false_discovery import benjamini_hochberg
from pitboss.saes.statistics import StatisticsRules, pooled_sd, welch
from pitboss.saes.sums import GroupSums

RULES = StatisticsRules(min_fired=5, min_group=5)
"""Guards for a pathway study: 25 games of each kind give 25 stops, half of them in each half."""


class Pathway(NamedTuple):
    """Result of the pathway analysis.

    Attributes:
        features: Rows of the store's kind `pathway`.
        curve: Rows of the store's kind `pathway_curve`.
        notes: What could not be evaluated, and why, one sentence each.
    """

    features: pd.DataFrame
    curve: pd.DataFrame
    notes: list[str]


class _Layer(NamedTuple):
    """One layer's activations: ids [f] and values [decisions, f] of features that ever fired."""

    ids: NDArray[np.int64]
    values: sparse.csr_array


def pathway(
    decisions: pd.DataFrame,
    games: pd.DataFrame,
    activations: pd.DataFrame,
    *,
    layers: list[int],
    top: int = 20,
    rules: StatisticsRules = RULES,
) -> Pathway:
    """Follows the decision through the layers.

    Args:
        decisions: Rows of the kind `decisions`; those without a decision are left aside.
        games: Rows of the kind `games`, one for each game of the decisions.
        activations: Rows of the kind `activations`.
        layers: Layers that were recorded.
        top: Features for each layer.
        rules: When a feature is tested.

    Raises:
        BadInput: Several models, a decision without its game, or no stop or no bet at all.
    """
    used = _used(decisions, games)
    stop = (used["decision"] == "stop").to_numpy()
    if not stop.any() or stop.all():
        raise BadInput(
            f"The pathway needs decisions of both kinds; there are {stop.sum()} stops among "
            f"{len(stop)} decisions.",
            next="Play more games.",
        )
    model, notes = str(used["model"].iloc[0]), []
    features, scores = [], []
    for layer in layers:
        data = _layer(used, activations, layer)
        tested = _tested(data, stop, rules)
        if tested.empty:
            notes.append(
                f"Layer {layer}: no feature can be tested ({stop.sum()} stops, {(~stop).sum()} "
                f"bets, {len(data.ids)} features ever fired)."
            )
            continue
        features.append(tested.assign(layer=layer))
        score = _cross_fitted(data, used, stop, top, rules)
        if np.isnan(score).any():
            notes.append(f"Layer {layer}: a half of the games is too small to choose features in.")
        scores.append(used.assign(layer=layer, score=score).dropna(subset=["score"]))
    return Pathway(_top(features, top, model), _curve(scores, model), notes)


def _used(decisions: pd.DataFrame, games: pd.DataFrame) -> pd.DataFrame:
    """Decided responses with their game's outcome and the number of decisions left after them."""
    if decisions["model"].nunique() != 1:
        raise BadInput(f"The decisions are of models {sorted(decisions['model'].unique())}.")
    used = decisions[decisions["decision"].isin(["bet", "stop"])].copy()
    used["outcome"] = used["game"].map(games.set_index("key")["outcome"])
    lost = used[used["outcome"].isna()]
    if len(lost):
        raise BadInput(f"{len(lost)} decisions belong to no game, first {lost['game'].iloc[0]!r}.")
    used = used.sort_values(["game", "round"]).reset_index(drop=True)
    left = used.groupby("game").cumcount(ascending=False)
    half = used["game"].map(lambda key: hashlib.blake2b(key.encode()).digest()[0] % 2)
    return used.assign(before_end=left, half=half)


def _layer(used: pd.DataFrame, activations: pd.DataFrame, layer: int) -> _Layer:
    rows = activations[activations["layer"] == layer]
    row = pd.Index(used["key"]).get_indexer(rows["decision"])
    rows, row = rows[row >= 0], row[row >= 0]
    ids, column = np.unique(rows["feature"].to_numpy(np.int64), return_inverse=True)
    values = rows["value"].to_numpy(np.float64)
    matrix = sparse.csr_array((values, (row, column)), shape=(len(used), len(ids)))
    return _Layer(ids, matrix)


def _sums(values: sparse.csr_array) -> GroupSums:
    found = values.tocoo()
    return GroupSums.of_sparse(values.shape[0], values.shape[1], found.col, found.data)


def _tested(data: _Layer, stop: NDArray[np.bool_], rules: StatisticsRules) -> pd.DataFrame:
    """Every feature that can be tested, stop minus bet, with its pooled sd."""
    stops, bets = _sums(data.values[stop]), _sums(data.values[~stop])
    if min(stops.n, bets.n) < max(rules.min_group, 2):
        return pd.DataFrame()
    result, sd = welch(stops, bets), pooled_sd(stops, bets)
    larger = np.maximum(stops.mean, bets.mean)
    usable = np.maximum(stops.fired, bets.fired) >= rules.min_fired
    usable &= (sd > 0) & (sd >= rules.min_relative_sd * larger)
    frame = pd.DataFrame(
        {
            "column": np.arange(len(data.ids)),
            "feature": data.ids,
            "n_stop": stops.n,
            "n_bet": bets.n,
            "fired_stop": stops.fired,
            "fired_bet": bets.fired,
            "mean_stop": stops.mean,
            "mean_bet": bets.mean,
            "d": result.d,
            "p": result.p,
            "log_p": result.log_p,
            "sd": sd,
        }
    )
    return frame[usable]


def _strongest(tested: pd.DataFrame, top: int) -> pd.DataFrame:
    order = tested.assign(size=tested["d"].abs())
    return order.sort_values(["size", "feature"], ascending=[False, True]).head(top)


def _cross_fitted(
    data: _Layer, used: pd.DataFrame, stop: NDArray[np.bool_], top: int, rules: StatisticsRules
) -> NDArray[np.float64]:
    """Each decision's stop score, from features chosen on the other half of the games."""
    score, half = np.full(len(used), np.nan), used["half"].to_numpy()
    for side in (0, 1):
        elsewhere, here = half != side, half == side
        tested = _tested(_Layer(data.ids, data.values[elsewhere]), stop[elsewhere], rules)
        if tested.empty or not here.any():
            continue
        best = _strongest(tested, top)
        weight = np.sign(best["d"]) / best["sd"] / len(best)
        stops, bets = best["n_stop"], best["n_bet"]
        mean = (stops * best["mean_stop"] + bets * best["mean_bet"]) / (stops + bets)
        values = data.values[here][:, best["column"].to_numpy()].toarray()
        score[here] = (values - mean.to_numpy()) @ weight.to_numpy()
    return score


def _top(layers: list[pd.DataFrame], top: int, model: str) -> pd.DataFrame:
    columns = ["model", "layer", "feature", "rank", "n_stop", "n_bet", "fired_stop", "fired_bet"]
    columns += ["mean_stop", "mean_bet", "d", "p", "log_p", "q"]
    if not layers:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(layers, ignore_index=True)
    frame["q"] = benjamini_hochberg(frame["p"].to_numpy(np.float64))
    best = pd.concat([_strongest(rows, top) for _, rows in frame.groupby("layer")])
    best = best.assign(model=model, rank=best.groupby("layer").cumcount() + 1)
    return best[columns].reset_index(drop=True)


def _curve(layers: list[pd.DataFrame], model: str) -> pd.DataFrame:
    columns = ["model", "layer", "outcome", "before_end", "decisions", "score", "score_sd"]
    if not layers:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(layers, ignore_index=True)
    groups = frame.groupby(["layer", "outcome", "before_end"])["score"]
    curve = groups.agg(decisions="size", score="mean", score_sd="std").reset_index()
    return curve.assign(model=model)[columns]
