"""What the games with clamped features say: tests once all are played."""

from collections.abc import Sequence

from pitboss.analysis.clamped_games import arm_effects, contrasts, hits
from pitboss.analysis.irrationality import with_irrationality
from pitboss.experiments.clamped_games.settings import ClampedGamesSettings
from pitboss.experiments.runtime.unit import Outcome
from pitboss.store import Store


def compare_arms(
    settings: ClampedGamesSettings, seed: int, store: Store, units: Sequence[str], file: str
) -> Outcome:
    """Test every arm against the baseline and each safe value against its risky one.

    Args:
        units: Content keys of the baseline's part and of all chunks'.
        file: Of the study's folder: how many features and how many controls reach significance.

    Returns:
        Rows of the kinds `persistent_effects` and `persistent_contrasts`.

    Raises:
        Incomplete: A unit is missing, or an arm does not play the baseline's games.
    """
    columns = ["key", "game", "round", "balance", "bet", "won"]
    decisions = store.read("decisions", units, columns=columns).to_pandas()
    games = with_irrationality(store.read("persistent", units).to_pandas(), decisions)
    contrast = contrasts(games, resamples=settings.resamples, seed=seed)
    found = {
        "games_per_arm": settings.games_per_arm,
        "fdr": settings.fdr,
        "significant": hits(contrast, settings.fdr),
    }
    return Outcome(
        {
            "persistent_effects": arm_effects(games, resamples=settings.resamples, seed=seed),
            "persistent_contrasts": contrast,
        },
        beside=[lambda store: store.write_json(file, found)],
    )
