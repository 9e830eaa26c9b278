"""A small bank of features whose effects are known, as selection leaves it."""

import pandas as pd

from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.selection.experiment import Selection
from pitboss.store import table_of
from tests.experiments.small import Whole


def selection_of(plan: Plan) -> Selection:
    """The selection of the small study."""
    found = plan["features"]
    assert isinstance(found, Selection)
    return found


def planted_bank(whole: Whole, plan: Plan) -> dict[str, set[tuple[int, int]]]:
    """Put a bank of two causal and two null features of each layer into another study's store.

    Returns:
        role -> (layer, feature).
    """
    selection = selection_of(whole.plan)
    bank = selection.bank()
    names = list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
    chosen = {
        role: {
            (at, i) for at in selection.layers for i in sorted(i for n, i in known if n == at)[:2]
        }
        for role, known in selection.known_answers().items()
    }
    wanted = chosen["causal"] | chosen["null"]
    rows = bank.rows([i for i, name in enumerate(names) if name in wanted])
    rows.save(selection_of(plan).bank_path)
    table = whole.store.read("features", [selection.key]).to_pandas()
    table = table[pd.MultiIndex.from_frame(table[["layer", "feature"]]).isin(wanted)]
    choice = selection.choice
    plan.store.commit("features", choice.key, table_of("features", table), identity=choice.identity)
    return chosen


def patching_of(plan: Plan) -> Patching:
    """The patching of a study that has one."""
    patching = plan["patching"]
    assert isinstance(patching, Patching)
    return patching
