"""What the games under a patch that stays say: tests once all are played."""

from typing import Any, NamedTuple

from pitboss.analysis.irrationality import with_irrationality
from pitboss.analysis.persistent import arm_effects, contrasts, hits
from pitboss.experiments.clamped_games import experiment as persistent
from pitboss.store import PartRef, Store, part_key, require_counts, table_of
from pitboss.studies.model import Study

CONTROLS = "persistent.json"


class Held(NamedTuple):
    """The parts of the analysis."""

    effects: PartRef
    contrasts: PartRef


def run(study: Study, store: Store) -> Held:
    """Test every arm against the baseline and each safe value against its risky one.

    Also writes persistent.json: how many features and how many controls reach significance.

    Raises:
        Incomplete: A unit is missing, or has other rows than it should.
    """
    settings = persistent.section(study)
    wanted = persistent.all_units(study, store)
    keys = [unit.key for unit in wanted]
    store.coverage("persistent", keys).require()
    rows = {unit.slug: unit.rows or 0 for unit in wanted}
    require_counts(rows, {unit.slug: ref.rows for unit in wanted if (ref := unit.ref(store))})
    games = with_irrationality(*persistent.played(study, store, wanted))
    drawn = {"resamples": settings.resamples, "seed": study.seed}
    tables = {
        "persistent_effects": arm_effects(games, **drawn),
        "persistent_contrasts": (contrast := contrasts(games, **drawn)),
    }
    identity = _identity(study, keys)
    refs = [
        store.commit(kind, part_key(settings.model, identity), table_of(kind, t), identity=identity)
        for kind, t in tables.items()
    ]
    found = {"games_per_arm": settings.games_per_arm, "fdr": settings.fdr}
    store.write_json(CONTROLS, {**found, "significant": hits(contrast, settings.fdr)})
    return Held(*refs)


def key(study: Study, store: Store) -> str:
    """Content key of both tables."""
    keys = [unit.key for unit in persistent.all_units(study, store)]
    return part_key(persistent.section(study).model, _identity(study, keys))


def _identity(study: Study, games: list[str]) -> dict[str, Any]:
    settings = persistent.section(study)
    return {"games": games, "fdr": settings.fdr, "resamples": settings.resamples}
