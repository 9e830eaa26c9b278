"""Results of realistic size and shape: 64 conditions, 31 layers, thousands of features."""

from functools import cache

import numpy as np
import pandas as pd

from pitboss.analysis.effects import effects
from pitboss.analysis.games import condition_outcomes
from pitboss.analysis.words import compare_words
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.saes.selection import Selection, SelectionRules, select
from pitboss.saes.statistics import StatisticsRules, compare_features
from pitboss.saes.sums import GroupSums

LAYERS = range(1, 32)
PLANTED = {(layer, 0) for layer in range(4, 32, 3)}


@cache
def outcomes(games: int = 50) -> pd.DataFrame:
    random, rows = np.random.default_rng(1), []
    for condition in ALL_CONDITIONS:
        risk = 0.02 + 0.08 * len(condition.components) * (condition.bet_type == "variable")
        weights = np.array([risk, 0.75 - risk, 0.15, 0.05, 0.05])
        names = ["bankruptcy", "voluntary_stop", "round_limit", "stuck", "aborted"]
        for outcome in random.choice(names, games, p=weights):
            rows.append((condition.key, condition.bet_type, condition.name, outcome, 4, 60, 1))
    columns = ["condition", "bet_type", "components", "outcome", "rounds", "total_bet", "retries"]
    return condition_outcomes(pd.DataFrame(rows, columns=columns).assign(model="lab-llama"))


@cache
def curve() -> pd.DataFrame:
    random, rows = np.random.default_rng(2), []
    for layer in LAYERS:
        rise = 2.4 / (1 + np.exp(-(layer - 16) / 3))
        for left in range(12):
            for outcome, level in (("voluntary_stop", rise * np.exp(-left)), ("bankruptcy", -0.1)):
                rows.append(
                    {
                        "model": "lab-llama",
                        "layer": layer,
                        "outcome": outcome,
                        "before_end": left,
                        "decisions": 25 - 2 * left,
                        "score": level + random.normal(0, 0.08),
                        "score_sd": 0.9,
                    }
                )
    return pd.DataFrame(rows)


@cache
def statistics(features: int = 600) -> pd.DataFrame:
    random, sums = np.random.default_rng(3), {}
    for layer in LAYERS:
        groups = {}
        shift = random.normal(0, 0.05 + 0.008 * layer, features)
        for name, n, sign in (("risky", 211, 0.5), ("safe", 900, -0.5)):
            mean = 2 + sign * shift
            deviation = random.normal(0, 1 / np.sqrt(n), features)
            total = n * (mean + deviation)
            spread = n * ((mean + deviation) ** 2 + 1)
            groups[name] = GroupSums(n, total, spread, np.full(features, n))
        sums[layer] = groups
    return compare_features(sums, StatisticsRules(), model="lab-llama", sae="lab-scope")


def selection(table: pd.DataFrame) -> Selection:
    return select(table, SelectionRules(per_layer=300))


@cache
def effect_table(per_layer: int = 100, n: int = 20) -> pd.DataFrame:
    random, frames = np.random.default_rng(4), []
    for prompt, level in (("exp2/safe", 0.35), ("exp2/risky", 0.6)):
        for arm, side in (("safe", 1), ("risky", -1), ("baseline", 0)):
            shape = (len(LAYERS), per_layer) if side else (1, 1)
            layer = np.repeat(np.array(LAYERS) if side else [np.nan], shape[1])
            feature = np.tile(np.arange(shape[1]) if side else [np.nan], shape[0])
            rate = np.full(len(layer), level)
            for index, name in enumerate(zip(layer, feature, strict=True)):
                if name in PLANTED:
                    rate[index] = np.clip(level + side * 0.02 * name[0], 0.02, 0.98)
            drawn = random.random((len(layer), n)) < rate[:, None]
            frames.append(
                pd.DataFrame(
                    {
                        "model": "lab-llama",
                        "role": "feature" if side else "baseline",
                        "phase": "discovery",
                        "scene": prompt,
                        "prompt": prompt,
                        "arm": arm,
                        "trial": np.tile(np.arange(n), len(layer)),
                        "amount": np.where(drawn.ravel(), np.nan, 10.0),
                        "balance": 100,
                        "layer": np.repeat(layer, n),
                        "feature": np.repeat(feature, n),
                        "decision": np.where(drawn.ravel(), "stop", "bet"),
                    }
                )
            )
    return effects(pd.concat(frames, ignore_index=True))


@cache
def ranking(per_layer: int = 32_768) -> pd.DataFrame:
    """A whole dictionary, most of whose features do nothing here."""
    random, count = np.random.default_rng(6), len(LAYERS) * per_layer
    contrast = random.standard_t(2, count) * 0.02
    still = random.random(count) < 0.6
    contrast[still] = 0
    frame = pd.DataFrame(
        {
            "model": "lab-llama",
            "layer": np.repeat(LAYERS, per_layer),
            "feature": np.tile(np.arange(per_layer), len(LAYERS)),
            "shift": contrast / 2,
            "prompt": "exp2/risky",
            "value_name": "safe",
            "contrast": contrast,
            "contrast_prompt": "exp2/safe",
            "unchanged": still,
        }
    )
    order = np.argsort(-frame["contrast"].abs().to_numpy(), kind="stable")
    return frame.iloc[order].reset_index(drop=True).assign(rank=np.arange(1, count + 1))


@cache
def words() -> pd.DataFrame:
    random, frames = np.random.default_rng(5), []
    common = ("the", "bet", "balance", "round", "game", "win", "money", "choose", "option", "lose")
    safe = ("stop", "careful", "secure", "keep", "leave", "enough", "walk", "away", "safely")
    risky = ("chase", "again", "double", "bigger", "hope", "luck", "streak", "recover")
    for prompt in ("exp2/safe", "exp2/risky"):
        for arm, own in (("safe", safe), ("risky", risky)):
            names = [*common, *safe, *risky]
            weight = np.array([3.0 if w in common else 1.5 if w in own else 0.5 for w in names])
            texts = random.choice(names, (300, 25), p=weight / weight.sum())
            frames.append(
                pd.DataFrame(
                    {
                        "model": "lab-llama",
                        "prompt": prompt,
                        "arm": arm,
                        "response": [" ".join(text) for text in texts],
                    }
                )
            )
    return compare_words(pd.concat(frames, ignore_index=True))
