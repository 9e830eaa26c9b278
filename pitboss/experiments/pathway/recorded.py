"""The games of the pathway that count, as they are stored: what its analyses start from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from pitboss.experiments.pathway.quotas import counting
from pitboss.experiments.pathway.settings import PathwaySettings
from pitboss.store import Store


class Recorded(NamedTuple):
    """The games that count, what was decided in them, and the activations at each decision."""

    games: pd.DataFrame
    decisions: pd.DataFrame
    activations: pd.DataFrame


def recorded(settings: PathwaySettings, store: Store, batches: Sequence[str]) -> Recorded:
    """What is stored of some batches; one decision a round.

    Args:
        batches: Content keys of all batches that were played.

    Raises:
        Incomplete: One of them is not there.
    """
    every = store.read("games", batches).to_pandas()
    keys = counting(settings, zip(every["key"], every["outcome"], strict=True))
    games = every[every["key"].isin(keys)]
    decisions = store.read("decisions", batches).to_pandas()
    responses = zip(decisions["decision"], decisions["bet"], strict=True)
    decisive = np.array([carried_out(*response) for response in responses], dtype=bool)
    return Recorded(
        games,
        decisions[decisive & decisions["game"].isin(games["key"])],
        store.read("activations", batches).to_pandas(),
    )


def carried_out(decision: str, bet: float | None) -> bool:
    """Whether the game went on with this response.

    A bet that is not on offer is asked again like a response without a decision, and in its place
    counts what the model then decides.

    Args:
        decision: bet, stop or none, as read.
        bet: Dollars that were bet, or null.
    """
    return decision == "stop" or (decision == "bet" and bool(pd.notna(bet)))
