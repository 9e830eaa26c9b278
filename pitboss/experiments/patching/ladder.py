"""ladder.json: the same runs under the original's rule and, step by step, under this study's."""

from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from pitboss.analysis.effects import effects as tests_of
from pitboss.analysis.ladder import as_rows, ladder
from pitboss.errors import PitbossError
from pitboss.experiments.runtime.plan import Plan
from pitboss.games.reading import reader
from pitboss.games.scenes import scene
from pitboss.store import Store

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching

ORIGINAL_READER, HONEST_READER = "original-exp2", "menu"


def climb(patching: "Patching", trials: pd.DataFrame, tested: pd.DataFrame) -> list[dict[str, Any]]:
    """Climb the ladder over all runs.

    The step from reconstructions to deltas needs a second study: the same settings but for the
    patching's `mode: delta`, named `<this study>-delta`, stored beside this one and finished
    before this one's effects are tested.

    A patching that reads by an original keyword reader is read by the menu reader for the steps
    that need honest readings.

    Args:
        trials: All runs, as the patching reads them.
        tested: Their effects.

    Returns:
        One row a step, see `pitboss.analysis.ladder.Step`.
    """
    trials, tested = honest(patching, trials, tested)
    steps = ladder(
        with_original_reader(trials),
        tested,
        fdr=patching.settings.fdr,
        known=patching.selection.known_answers(),
        delta=delta_effects(patching),
    )
    return as_rows(steps)


def honest(
    patching: "Patching", trials: pd.DataFrame, tested: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All runs and their effects, by a reader that makes nothing up."""
    if not patching.settings.reader.startswith("original-"):
        return trials, tested
    read = _read_by(HONEST_READER, trials)
    trials = trials.assign(decision=read["decision"], amount=read["amount"])
    return trials, tests_of(trials, patching.settings.fdr)


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


def delta_effects(patching: "Patching") -> pd.DataFrame | str:
    """Effects of this study's twin that patches deltas, or why there are none."""
    if patching.settings.mode == "delta":
        return "this study's own patches are deltas"
    name = f"{patching.study.name}-delta"
    missing = f"no finished study {name}, equal but for patching.mode: delta, lies beside this one"
    try:
        twin = _twin(patching, name)
        tested = twin.store.read("effects", [twin.effects_key]).to_pandas()
        return honest(twin, twin.read_trials(twin.trial_keys()), tested)[1]
    except PitbossError:
        return missing


def _twin(patching: "Patching", name: str) -> "Patching":
    """The same patching of the same study, but in mode delta and in a folder of another name.

    Raises:
        BadInput: There is no such folder.
    """
    study = patching.study
    delta = patching.settings.model_copy(update={"mode": "delta"})
    experiments = {**study.experiments, patching.name: delta}
    twin = study.model_copy(update={"name": name, "experiments": experiments})
    classes = {each.settings.kind: type(each) for each in patching.plan}
    store = Store.open(patching.store.path.parent / name)
    return cast("Patching", Plan(twin, store, classes)[patching.name])
