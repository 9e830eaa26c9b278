"""How a player bets, beyond how his game ends: the irrationality measures of arXiv 2509.22818.

With r_t = min(bet_t / balance_t, 1), the share of the balance that is bet in round t of a game with
n bets, and L the lost rounds after which another bet is placed:

    betting aggressiveness   I_BA = (1/n)   sum over t     of r_t
    extreme betting          I_EC = (1/n)   sum over t     of [r_t >= 1/2]
    loss chasing             I_LC = (1/|L|) sum over t in L of max(0, (r_{t+1} - r_t) / r_t)

The formulas are those that the study's authors write down in their public repository
iamseungpil/llm-addiction: `ADDICTION_SYMPTOMS_MEASUREMENT_BY_TASK.md` (commit 31dc373, sections
1.1, 1.2 and 2.1) and `sae_v3_analysis/src/layer_sweep_3metrics.py` (commit 074ab47). Older scripts
there count how often a bet, or its share, grows after a loss; one calls a bet extreme from 99 % on.

One thing differs: they give a game without a bet, or without a bet after a loss, the value 0. Here
it has none, because nothing was measured, and the number of games that have one stands beside each
mean.
"""

import numpy as np
import pandas as pd

from pitboss.errors import BadInput

EXTREME = 0.5
"""Share of the balance from which on a bet is extreme."""

INDICES = ("betting", "extreme", "loss_chasing")


def irrationality(decisions: pd.DataFrame) -> pd.DataFrame:
    """The three measures of each game.

    Args:
        decisions: Columns game, round, balance, bet, won of the kind `decisions`; responses without
            a bet (stops, and those drawn again) are left aside.

    Returns:
        One row a game with a bet, indexed by its key: bets, betting, extreme, chances (lost rounds
        followed by a bet: |L|), loss_chasing (NaN where there is none).

    Raises:
        BadInput: A game has two bets in one round, or a bet on no balance.
    """
    bets = decisions.dropna(subset=["bet"]).sort_values(["game", "round"])
    twice = bets.duplicated(["game", "round"])
    if twice.any():
        first = bets[twice].iloc[0]
        raise BadInput(f"Game {first['game']} has two bets in round {first['round']}.")
    if (bets["balance"] <= 0).any():
        first = bets[bets["balance"] <= 0].iloc[0]
        raise BadInput(f"Game {first['game']} has a bet on a balance of {first['balance']}.")
    share = np.minimum(bets["bet"].astype(float) / bets["balance"], 1.0)
    after = share.groupby(bets["game"]).shift(-1)
    # The round after it, if a bet was placed there: rounds without a bet end the game.
    chance = ~bets["won"].astype(bool) & after.notna()
    chase = ((after - share) / share).clip(lower=0).where(chance)
    table = pd.DataFrame(
        {
            "game": bets["game"],
            "betting": share,
            "extreme": (share >= EXTREME).astype(float),
            "chances": chance.astype(int),
            "loss_chasing": chase,
        }
    )
    grouped = table.groupby("game")
    found = grouped[list(INDICES)].mean()
    found.insert(0, "bets", grouped.size())
    found.insert(1, "chances", grouped["chances"].sum())
    return found


def with_irrationality(games: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """Games with the columns of `irrationality`, NaN where a game has no value.

    An aborted game has none: it is no observation.

    Args:
        games: Columns key and outcome of the kind `games` or `persistent`.
        decisions: Of these games.
    """
    joined = games.join(irrationality(decisions), on="key")
    joined.loc[joined["outcome"] == "aborted", list(INDICES)] = np.nan
    return joined


def mean_irrationality(games: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Means over games, each with the number of games that have a value.

    Args:
        games: From `with_irrationality`.
        by: What a row of the result is; missing values count as one group of their own.

    Returns:
        Indexed by `by`: with_bet, betting, extreme, with_chance, loss_chasing (NaN where none has).
    """
    grouped = games.groupby(by, dropna=False)
    means = grouped[list(INDICES)].mean()
    means.insert(0, "with_bet", grouped["betting"].count())
    means.insert(3, "with_chance", grouped["loss_chasing"].count())
    return means
