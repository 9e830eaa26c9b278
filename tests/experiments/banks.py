"""A small bank of features whose effects are known, as selection leaves it."""

import pandas as pd

from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.runtime.plan import Plan
from pitboss.store import table_of
from tests.experiments.small import Whole


def planted_bank(whole: Whole, plan: Plan) -> dict[str, set[tuple[int, int]]]:
    """Put a bank of two causal and two null features of each layer into another study's store.

    Returns:
        role -> (layer, feature).
    """
    before, selection = whole.plan["features"], patching_of(plan).selection
    bank = before.bank()
    names = list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
    known = before.known_answers()
    chosen = {
        role: {pair for n in selection.layers for pair in sorted(p for p in pairs if p[0] == n)[:2]}
        for role, pairs in known.items()
    }
    wanted = chosen["causal"] | chosen["null"]
    bank.rows([i for i, name in enumerate(names) if name in wanted]).save(selection.bank_path)
    table = whole.store.read("features", [selection.key]).to_pandas()
    rows = table[pd.MultiIndex.from_frame(table[["layer", "feature"]]).isin(wanted)]
    identity = selection.choice.identity
    plan.store.commit("features", selection.key, table_of("features", rows), identity=identity)
    return chosen


def patching_of(plan: Plan) -> Patching:
    """The patching of a study that has one."""
    patching = plan["patching"]
    assert isinstance(patching, Patching)
    return patching
