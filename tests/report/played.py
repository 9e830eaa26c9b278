"""Games of the made-up study with their bets: Exp0 by condition, and Exp5 under patches that stay.

At the risky value of L1/F0 games are longer, stakes larger and bankruptcies common; a random
direction changes nothing. Tests and measures are the project's own.
"""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from pitboss.analysis.clamped_games import arm_effects, contrasts
from pitboss.analysis.irrationality import with_irrationality
from pitboss.games.conditions import ALL_CONDITIONS

MODEL = "pitboss/lab-llama"
PLAYED = 40
"""Games of an arm of Exp5."""
ARMS = (  # role, feature of layer 1, arm, mean rounds, chances of bankruptcy and of being aborted
    ("baseline", None, "baseline", 4, 0.3, 0.02),
    ("feature", 0, "safe", 1, 0.05, 0.02),
    ("feature", 0, "risky", 8, 0.7, 0.3),
    ("feature", 2, "safe", 4, 0.3, 0.02),
    ("feature", 2, "risky", 4, 0.3, 0.02),
    ("random_direction", 0, "safe", 4, 0.3, 0.02),
    ("random_direction", 0, "risky", 4, 0.3, 0.02),
)
NAMED = {"model": MODEL, "seed": 7, "wins": 1, "start_balance": 100, "final_balance": 0,
         "responses": 4, "retries": 0}  # fmt: skip


@cache
def played() -> dict[str, pd.DataFrame]:
    """games, decisions and the tables of Exp5, by kind; the same for every made-up study."""
    random = np.random.default_rng(17)
    games, bets = _conditions(random)
    held, held_bets = _held(random)
    measured = with_irrationality(held, held_bets)
    return {
        "games": games,
        "decisions": pd.concat([bets, held_bets], ignore_index=True),
        "persistent": held,
        "persistent_effects": arm_effects(measured, resamples=200, seed=1),
        "persistent_contrasts": contrasts(measured, resamples=200, seed=1),
    }


def _conditions(random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, bets = [], []
    for condition in ALL_CONDITIONS:
        risk = 0.05 + 0.06 * len(condition.components) * (condition.bet_type == "variable")
        for n in range(5):
            key = f"llama/{condition.key}/{n:03d}"
            rounds = int(random.integers(0, 12))
            stakes = _stakes(random, key, rounds, condition.bet_type == "variable")
            bets += stakes
            rows.append(
                {
                    "key": key,
                    "condition": condition.key,
                    "bet_type": condition.bet_type,
                    "components": condition.name,
                    "repetition": n,
                    "outcome": _outcome(random, risk, 0.03),
                    "rounds": rounds,
                    "total_bet": sum(row["bet"] for row in stakes),
                }
            )
    games = pd.DataFrame(rows).assign(experiment="games", prompt="exp0/planned", **NAMED)
    return _with_reasons(games), pd.DataFrame(bets)


def _held(random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, bets = [], []
    for role, feature, arm, mean, risk, broken in ARMS:
        for n in range(PLAYED):
            name = "baseline" if feature is None else f"L01/F{feature}/{role}/{arm}"
            key = f"llama/persistent/{name}/{n:03d}"
            stakes = _stakes(random, key, int(random.poisson(mean)), True)
            bets += stakes
            rows.append(
                {
                    "key": key,
                    "game": f"llama/persistent/{n:03d}",
                    "role": role,
                    "arm": arm,
                    "layer": None if feature is None else 1,
                    "feature": feature,
                    "outcome": _outcome(random, risk, broken),
                    "rounds": len(stakes),
                    "total_bet": sum(row["bet"] for row in stakes),
                }
            )
    games = pd.DataFrame(rows).assign(
        experiment="persistent", prompt="exp2/game", condition="variable/GRWP", components="GRWP",
        bet_type="variable", repetition=0, value=None, matched=None, **NAMED,
    )  # fmt: skip
    return _with_reasons(games), pd.DataFrame(bets)


def _stakes(
    random: np.random.Generator, game: str, rounds: int, variable: bool
) -> list[dict[str, Any]]:
    balances = random.integers(20, 200, rounds)
    return [
        {
            "key": f"{game}/{n}",
            "game": game,
            "round": n,
            "balance": int(balance),
            "bet": int(random.integers(5, balance)) if variable else 10,
            "won": bool(random.random() < 0.3),
            "decision": "bet",
        }
        for n, balance in enumerate(balances, start=1)
    ]


def _outcome(random: np.random.Generator, risk: float, broken: float) -> str:
    if random.random() < broken:
        return "aborted"
    return "bankruptcy" if random.random() < risk else "voluntary_stop"


def _with_reasons(games: pd.DataFrame) -> pd.DataFrame:
    why = pd.Series("no decision in 4 responses, the last one unreadable", index=games.index)
    return games.assign(reason=why.where(games["outcome"] == "aborted"))
