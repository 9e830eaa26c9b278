"""What tests of the screening share: studies that go on from the small study's selection."""

from pathlib import Path
from typing import Any

import pandas as pd

from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.screening import experiment as screening
from pitboss.experiments.screening import ranking
from pitboss.experiments.selection.experiment import bank_path, load_bank
from pitboss.store import Store
from tests.experiments.small import ALIAS, Whole, small_study

SCENES = ["exp2/safe", "exp2/risky"]
BEFORE = ["games", "decisions", "sums", "statistics", "features"]


def screened(whole: Whole) -> pd.DataFrame:
    keys = [unit.key for unit in screening.units(whole.study, whole.store)]
    return whole.store.read("screening", keys).to_pandas()


def after_selection(whole: Whole, root: Path, **sections: Any) -> tuple[Lane, Store]:
    """A study that differs behind the selection of features, with all that comes before it."""
    study = small_study(**sections)
    store = open_store(study, root)
    for kind in BEFORE:
        for record in whole.store.records(kind):
            key = record.ref.key
            if kind in ("games", "decisions") and "pathway" in key:
                continue
            table = whole.store.read(kind, [key])
            store.commit(kind, key, table, identity=record.identity)
    load_bank(whole.study, whole.store, ALIAS).save(bank_path(store, ALIAS))
    return Lane(study, ALIAS, whole.lane.loaded, []), store


def screen(lane: Lane, store: Store) -> None:
    for unit in screening.units(lane.study, store):
        screening.run(lane, store, unit)
    ranking.run(lane.study, store)
