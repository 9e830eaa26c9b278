"""Which features are selected: tested over all layers at once, chosen by rules, put into a bank."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pitboss.experiments.runtime.unit import Outcome, Rows
from pitboss.experiments.selection.settings import SelectionSettings
from pitboss.saes.bank import FeatureBank
from pitboss.saes.imported import select_imported
from pitboss.saes.loading import load_sae
from pitboss.saes.planted import planted
from pitboss.saes.plausibility import implausible
from pitboss.saes.selection import Selection as Chosen
from pitboss.saes.selection import SelectionRules, select
from pitboss.saes.statistics import StatisticsRules, statistics_of_tables

if TYPE_CHECKING:
    from pitboss.experiments.selection.experiment import Selection


class Choice(NamedTuple):
    """What is chosen, and from which statistics: None where a table was imported."""

    chosen: Chosen
    statistics: pd.DataFrame | None


def choose(selection: "Selection") -> Choice:
    """Test all features of all layers and choose.

    Raises:
        Incomplete: A layer's sums are missing.
        BadInput: Nothing passes the rules, or an included feature does not exist.
    """
    settings = selection.settings
    rules = SelectionRules(
        settings.min_abs_d,
        settings.max_p,
        settings.fdr,
        settings.per_layer,
        adjusted=settings.adjust != "none" and settings.imported is None,
    )
    if selection.table is not None:
        return Choice(select_imported(selection.table, rules), None)
    statistics = _statistics(selection)
    return Choice(select(statistics, rules, include=included(settings, selection.sae)), statistics)


def select_features(selection: "Selection") -> Outcome:
    """Statistics, selected features and their bank.

    The SAEs of the chosen features' layers are loaded once each, one after the other.

    Raises:
        As `choose`.
    """
    chosen, statistics = choose(selection)
    tables: dict[str, Rows] = {"features": chosen.table}
    if statistics is not None:
        tables["statistics"] = statistics
    bank = FeatureBank.build(
        (load_sae(selection.sae, layer, selection.gate) for layer in sorted(chosen.ids)),
        chosen.ids,
        values=chosen.values,
        meta=selection.bank_meta,
    )
    return Outcome(tables, beside=[lambda store: bank.save(selection.bank_path)])


def doubted(chosen: Chosen, bank: FeatureBank) -> Chosen:
    """The same choice with the doubts that only the bank's gate thresholds can raise."""
    return replace(chosen, doubts=implausible(chosen.features, _thresholds(bank)))


def _thresholds(bank: FeatureBank) -> dict[int, NDArray[np.float32]]:
    """Gate thresholds of a bank's features: layer -> threshold by feature id, 0 for all others."""
    found = {}
    for layer in sorted(set(bank.layer.tolist())):
        mine = bank.layer == layer
        ids = bank.feature[mine].numpy()
        found[layer] = np.zeros(ids.max() + 1, np.float32)
        found[layer][ids] = bank.threshold[mine].numpy()
    return found


def _statistics(selection: "Selection") -> pd.DataFrame:
    """All features of all layers, tested over the games."""
    settings, store = selection.settings, selection.store
    wanted = [unit.key for unit in selection.sums]
    kinds = ["sums"] if settings.adjust == "none" else ["sums", "adjustments"]
    for kind in kinds:
        store.coverage(kind, wanted).require()
    sums, *adjustments = (store.read(kind, wanted) for kind in kinds)
    return statistics_of_tables(
        sums,
        adjustments[0] if adjustments else None,
        StatisticsRules(settings.min_fired, settings.min_group),
        count=settings.count,
        model=selection.study.models[selection.model].id,
        sae=selection.sae,
    )


def included(settings: SelectionSettings, release: str) -> dict[int, list[int]]:
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
