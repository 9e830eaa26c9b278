"""Which SAE features differ between games that end bankrupt and games that end in a stop.

A unit is one layer's sums over the last decision of every such game, read at the last prompt token;
decisions with the same prompt are computed once. `select_features` then tests all features of all
layers at once, chooses, and writes the feature bank.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pitboss.errors import BadInput
from pitboss.experiments.games import experiment as games
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.identity import model_identity, sae_identity
from pitboss.experiments.runtime.states import prompt_states
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.selection.groups import (
    adjusting,
    adjustments_table,
    design,
    distinct_states,
    last_decisions,
)
from pitboss.experiments.selection.layer_sums import summed
from pitboss.models.catalogue import LAB_DIR, model_spec, sae_release
from pitboss.models.checks import check_reconstruction, require
from pitboss.saes.bank import FeatureBank
from pitboss.saes.imported import (
    FeatureSpace,
    ImportedStatistics,
    import_statistics,
    select_imported,
)
from pitboss.saes.loading import load_sae
from pitboss.saes.planted import planted
from pitboss.saes.plausibility import implausible
from pitboss.saes.selection import Selection, SelectionRules, select
from pitboss.saes.statistics import StatisticsRules, statistics_of_tables
from pitboss.saes.sums import sums_table
from pitboss.store import PartRef, Store, part_key, table_of
from pitboss.studies.model import Features, Study

_CHECKED_PROMPTS = 8  # of the games, on which each SAE must reconstruct its layer


class FeatureSet(NamedTuple):
    """What selection leaves; there are no statistics of our own when a table was imported."""

    statistics: PartRef | None
    features: PartRef
    bank: Path
    selection: Selection


def bank_path(store: Store, alias: str) -> Path:
    """Where a model's feature bank lies."""
    return store.path / "banks" / f"{alias}.safetensors"


def load_bank(study: Study, store: Store, alias: str) -> FeatureBank:
    """A model's feature bank, if it is the one that this study selects.

    Raises:
        BadInput: It does not exist or is damaged.
        Mismatch: It is of another model, SAE, gate or selection; names the first that differs.
    """
    return FeatureBank.load(bank_path(store, alias), expect=_bank_meta(study, alias))


def _bank_meta(study: Study, alias: str) -> dict[str, str]:
    return {
        "model": study.models[alias].id,
        "sae": study.models[alias].sae,
        "gate": study.features.gate,
        "features": selection_key(study, alias),
    }


def games_keys(study: Study, alias: str) -> list[str]:
    """Content keys of all game batches of one model."""
    return [unit.key for unit in games.units(study, alias)]


def units(study: Study, alias: str) -> list[Unit]:
    """One unit a layer; none when the statistics are imported."""
    if study.features.imported is not None:
        return []
    played, settings = games_keys(study, alias), study.features
    release = sae_release(study.models[alias].sae)
    return [
        Unit(
            experiment="features",
            kind="sums",
            slug=f"{alias}/L{layer:02d}",
            identity={
                **model_identity(study, alias, "features"),
                "sae": sae_identity(study, alias, layer, study.features.gate),
                "games": played,
                "decision": "last",
                "states": "counted",
                **adjusting(settings),
            },
            rows=2 * release.d_sae,
            beside=() if settings.adjust == "none" else ("adjustments",),
            payload=layer,
        )
        for layer in settings.layers
    ]


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Sum one layer's activations over the decisions of each group, and commit the sums."""
    if done := unit.ref(store):
        return done
    began = time.time()
    settings = lane.study.features
    decisions = last_decisions(lane.study, store, lane.alias)
    distinct = distinct_states(decisions)
    comparison = design(settings, distinct)  # refused, if it has to be, before anything is computed
    states = prompt_states(lane, distinct, unit.payload, slots)
    sae = lane.sae(unit.payload, settings.gate, keep=False)  # used here and nowhere else
    texts = list(decisions["prompt_text"].iloc[:: max(1, len(decisions) // _CHECKED_PROMPTS)])
    require(check_reconstruction(lane.loaded, [sae], texts, settings.max_unexplained))
    found = summed(sae, states, distinct, comparison)
    if comparison is not None and found.adjusted is not None:
        adjustments = adjustments_table(lane, unit.payload, comparison, found.adjusted)
        store.commit(
            "adjustments", unit.key, adjustments, identity=unit.identity, facts={"of": "features"}
        )
    table = sums_table(lane.loaded.spec.id, unit.payload, found.groups, found.states)
    facts = {"decisions": len(decisions), "states": len(distinct)}
    return unit.commit(store, table, began, {"device": str(lane.loaded.device), **facts})


def select_features(study: Study, store: Store, alias: str) -> FeatureSet:
    """Test, choose and write: statistics, selected features, feature bank.

    The SAEs of the chosen features' layers are loaded once each, one after the other.

    Raises:
        Incomplete: A layer's sums are missing.
        BadInput: Nothing passes the rules, or an included feature does not exist.
    """
    settings, identity = study.features, _selection_identity(study, alias)
    release = study.models[alias].sae
    rules = SelectionRules(
        settings.min_abs_d,
        settings.max_p,
        settings.fdr,
        settings.per_layer,
        adjusted=settings.adjust != "none" and settings.imported is None,
    )
    statistics_ref = None
    key = selection_key(study, alias)
    if table := imported_table(study, alias):
        chosen = select_imported(table, rules)
    else:
        statistics = _statistics(study, store, alias)
        statistics_ref = store.commit(
            "statistics", key, table_of("statistics", statistics), identity=identity
        )
        chosen = select(statistics, rules, include=included(settings, release))
    features_ref = store.commit("features", key, chosen.table, identity=identity)
    bank = FeatureBank.build(
        (load_sae(release, layer, settings.gate) for layer in sorted(chosen.ids)),
        chosen.ids,
        values=chosen.values,
        meta=_bank_meta(study, alias),
    )
    bank.save(bank_path(store, alias))
    chosen = replace(chosen, doubts=implausible(chosen.features, _thresholds(bank)))
    return FeatureSet(statistics_ref, features_ref, bank_path(store, alias), chosen)


def _thresholds(bank: FeatureBank) -> dict[int, NDArray[np.float32]]:
    """Gate thresholds of a bank's features: layer -> threshold by feature id, 0 for all others."""
    found = {}
    for layer in sorted(set(bank.layer.tolist())):
        mine = bank.layer == layer
        ids = bank.feature[mine].numpy()
        found[layer] = np.zeros(ids.max() + 1, np.float32)
        found[layer][ids] = bank.threshold[mine].numpy()
    return found


def _statistics(study: Study, store: Store, alias: str) -> pd.DataFrame:
    """All features of all layers, tested over the study's own games."""
    settings = study.features
    wanted = [unit.key for unit in units(study, alias)]
    kinds = ["sums"] if settings.adjust == "none" else ["sums", "adjustments"]
    for kind in kinds:
        store.coverage(kind, wanted).require()
    sums, *adjustments = (store.read(kind, wanted) for kind in kinds)
    return statistics_of_tables(
        sums,
        adjustments[0] if adjustments else None,
        StatisticsRules(settings.min_fired, settings.min_group),
        count=settings.count,
        model=model_spec(study.models[alias].id).id,
        sae=study.models[alias].sae,
    )


def imported_table(study: Study, alias: str) -> ImportedStatistics | None:
    """The study's table from elsewhere, or None if it uses its own games.

    Raises:
        BadInput: The file is missing or damaged, or names layers that the study does not use.
        Mismatch: The table belongs to another space, model, SAE, gate or hook point.
    """
    declared = study.features.imported
    if declared is None:
        return None
    lane = FeatureSpace(
        space="sae",
        model=study.models[alias].id,
        sae=study.models[alias].sae,
        gate=study.features.gate,
        hook_point="blocks.{layer}.hook_resid_post",
        token="prompt_last",
        d_sae=sae_release(study.models[alias].sae).d_sae,
    )
    path = LAB_DIR.parent / declared.path
    table = import_statistics(path, declared=declared.model_dump(exclude={"path"}), lane=lane)
    strangers = sorted(set(table.frame["layer"]) - set(study.features.layers))
    if strangers:
        raise BadInput(
            f"The table has features of layers {strangers}, which the study does not use.",
            where=str(path),
            next="Name these layers in features.layers.",
        )
    return table


def selection_key(study: Study, alias: str) -> str:
    """Content key of a model's statistics and selected features."""
    return part_key(alias, _selection_identity(study, alias))


def _selection_identity(study: Study, alias: str) -> dict[str, Any]:
    rules = study.features.model_dump(mode="json", exclude={"models", "layers"})
    table = imported_table(study, alias)
    source = {"table": table.sha256} if table else {}
    return {"sums": [unit.key for unit in units(study, alias)], **source, "rules": rules}


def included(settings: Features, release: str) -> dict[int, list[int]]:
    """Features taken in whatever their statistics: layer -> ids."""
    if settings.include == "none":
        return {}
    if settings.include == "planted":
        return {
            layer: sorted(id for ids in roles.values() for id in ids)
            for layer, roles in planted(release).items()
            if layer in settings.layers
        }
    return {layer: list(ids) for layer, ids in settings.include.items()}
