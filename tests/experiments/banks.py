"""A small bank of features whose effects are known, as selection leaves it."""

import pandas as pd

from pitboss.experiments.selection.experiment import bank_path, load_bank
from pitboss.saes.planted import planted
from pitboss.store import Store, table_of
from tests.experiments.small import ALIAS, Whole


def planted_bank(whole: Whole, store: Store) -> dict[str, set[tuple[int, int]]]:
    """Put a bank of two causal and two null features of each layer into another study's store.

    Returns:
        role -> (layer, feature).
    """
    bank = load_bank(whole.study, whole.store, ALIAS)
    names = list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
    known = planted(whole.study.models[ALIAS].sae)
    chosen: dict[str, set[tuple[int, int]]] = {"causal": set(), "null": set()}
    for role, pairs in chosen.items():
        for layer in whole.study.features.layers:
            pairs |= {(layer, i) for i in sorted(known[layer][role])[:2]}
    wanted = chosen["causal"] | chosen["null"]
    bank.rows([i for i, name in enumerate(names) if name in wanted]).save(bank_path(store, ALIAS))
    (selected,) = whole.store.records("features")
    table = whole.store.read("features", [selected.ref.key]).to_pandas()
    rows = table[pd.MultiIndex.from_frame(table[["layer", "feature"]]).isin(wanted)]
    store.commit(
        "features", selected.ref.key, table_of("features", rows), identity=selected.identity
    )
    return chosen
