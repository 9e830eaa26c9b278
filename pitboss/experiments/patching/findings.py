"""The findings table: one row a patched feature, from the effects and what else is known of it."""

from typing import Any

from pitboss.analysis.findings import findings
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.screening import ranking
from pitboss.experiments.selection import experiment as features
from pitboss.store import PartRef, Store, part_key, table_of
from pitboss.studies.model import Study


def key(study: Study, effects: str, confirmed: str | None = None) -> str:
    """Content key of the findings from these effects, and from those of the confirmation."""
    return part_key(study.patching.model, _identity(study, effects, confirmed))


def _identity(study: Study, effects: str, confirmed: str | None) -> dict[str, Any]:
    return {"effects": effects, "confirmed": confirmed, "screened": study.patching.screen}


def commit(study: Study, store: Store, effects: str, confirmed: str | None = None) -> PartRef:
    """Gather and store the findings.

    Args:
        effects: Key of the discovery's effects.
        confirmed: Key of the confirmation's effects, if there is one.

    Raises:
        Incomplete: A part that they are made of is missing.
    """
    tested = store.read("effects", [effects]).to_pandas()
    again = None if confirmed is None else store.read("effects", [confirmed]).to_pandas()
    trials = [unit.key for unit in patching.units(study, store)]
    runs = store.read("trials", trials, columns=["layer", "feature"]).to_pandas()
    counts = runs.groupby(["layer", "feature"]).size()
    selected = store.read(
        "features",
        [features.selection_key(study, study.patching.model)],
        columns=["layer", "feature", "d"],
    ).to_pandas()
    d = _column(selected.dropna(subset=["d"]), "d")
    shifts: dict[tuple[int, int], float] = {}
    if study.patching.screen:
        shifts = _column(ranking.top(study, store).dropna(subset=["contrast"]), "contrast")
    made = findings(
        tested, {(int(at), int(i)): int(n) for (at, i), n in counts.items()}, d, shifts, again
    )
    return store.commit(
        "findings",
        key(study, effects, confirmed),
        table_of("findings", made),
        identity=_identity(study, effects, confirmed),
    )


def _column(rows: Any, name: str) -> dict[tuple[int, int], float]:
    return {
        (int(layer), int(feature)): float(value)
        for layer, feature, value in rows[["layer", "feature", name]].itertuples(index=False)
    }
