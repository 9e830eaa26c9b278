"""ladder.json: the same runs under the original's rule and, step by step, under this study's.

original.json, beside it, holds what the original concluded from its own published responses.
"""

from typing import Any

import pandas as pd

from pitboss.analysis.effects import effects as tests_of
from pitboss.analysis.ladder import as_rows, ladder
from pitboss.analysis.original import original_study
from pitboss.errors import PitbossError
from pitboss.experiments.patching import effects
from pitboss.experiments.patching import experiment as patching
from pitboss.games.reading import reader
from pitboss.games.scenes import scene
from pitboss.store import Store
from pitboss.studies.model import Study

LADDER, ORIGINAL = "ladder.json", "original.json"
ORIGINAL_READER, HONEST_READER = "original-exp2", "menu"


def run(study: Study, store: Store) -> list[dict[str, Any]]:
    """Climb the ladder over all stored runs; write ladder.json and original.json.

    The step from reconstructions to deltas needs a second study: the same settings but for
    `patching.mode: delta`, named `<this study>-delta` and stored beside this one.

    A study that reads by an original keyword reader is read by the menu reader for the steps that
    need honest readings.

    Returns:
        One row a step, see `pitboss.analysis.ladder.Step`.

    Raises:
        Incomplete: Runs or their effects are missing.
    """
    trials, tested = honest(study, store)
    trials = with_original_reader(trials)
    steps = ladder(
        trials,
        tested,
        fdr=study.patching.fdr,
        known=effects.known_answers(study),
        delta=delta_effects(study, store),
    )
    rows = as_rows(steps)
    store.write_json(LADDER, rows)
    store.write_json(ORIGINAL, original_study())
    return rows


def honest(study: Study, store: Store) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All runs and their effects, by a reader that makes nothing up.

    Raises:
        Incomplete: Runs or their effects are missing.
    """
    keys = [unit.key for unit in patching.all_units(study, store)]
    store.coverage("trials", keys).require()
    trials = effects.read_trials(study, store, keys)
    if not study.patching.reader.startswith("original-"):
        return trials, store.read("effects", [effects.key(study, store)]).to_pandas()
    read = _read_by(HONEST_READER, trials)
    trials = trials.assign(decision=read["decision"], amount=read["amount"])
    return trials, tests_of(trials, study.patching.fdr)


def with_original_reader(trials: pd.DataFrame) -> pd.DataFrame:
    """Adds old_decision and old_amount: what the original's keyword reader makes of each response.

    A decision that it makes up (a stop, where it finds neither a keyword nor an amount) counts, as
    it did in the run over all layers.
    """
    old = _read_by(ORIGINAL_READER, trials)
    return trials.assign(old_decision=old["decision"], old_amount=old["amount"])


def _read_by(name: str, trials: pd.DataFrame) -> pd.DataFrame:
    """decision and amount of every response, by another reader; equal responses are read once."""
    read, columns = reader(name), ["prompt", "response", "finish"]
    asked = trials[columns].drop_duplicates()
    readings = [
        read.read(row.response, scene(row.prompt).menu, row.finish)
        for row in asked.itertuples(index=False)
    ]
    known = asked.assign(
        decision=[reading.decision for reading in readings],
        amount=pd.array([reading.amount for reading in readings], dtype="Float64"),
    )
    merged = trials[columns].merge(known, on=columns, how="left", validate="many_to_one")
    return merged.set_index(trials.index)[["decision", "amount"]].astype({"amount": "float64"})


def delta_effects(study: Study, store: Store) -> pd.DataFrame | str:
    """Effects of this study's twin that patches deltas, or why there are none."""
    if study.patching.mode == "delta":
        return "this study's own patches are deltas"
    name = f"{study.name}-delta"
    folder = store.path.parent / name
    missing = f"no finished study {name}, equal but for patching.mode: delta, lies beside this one"
    settings = study.patching.model_copy(update={"mode": "delta"})
    twin = study.model_copy(update={"name": name, "patching": settings})
    try:
        return honest(twin, Store.open(folder))[1]
    except PitbossError:
        return missing
