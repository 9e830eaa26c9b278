"""What the patched runs say: tests once all are there, a table after each chunk."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from pitboss.analysis.effects import effects
from pitboss.analysis.interim import sequential_effects
from pitboss.analysis.original import original_study
from pitboss.experiments.patching.controls_found import controls_found
from pitboss.experiments.patching.interim import rule_of
from pitboss.experiments.patching.ladder import climb
from pitboss.experiments.runtime.play import reading_columns
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.games.reading import reader
from pitboss.games.reading.compare import Response, compare
from pitboss.games.scenes import scene, scene_of
from pitboss.store import Store

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching


def test_all(patching: "Patching") -> Outcome:
    """Test every feature and control in every scene, once all runs are there.

    Beside the effects: what the controls say, how the original's reader sees the responses, the
    ladder from the original's rule to this one, and what the original's own data say.

    Raises:
        Incomplete: A unit is missing.
        Mismatch: A feature set to its own value changed a response.
    """
    trials = read_trials(patching.store, patching.settings.reader, patching.trial_keys())
    tested = _tested(patching, trials)
    documents = {
        "controls.json": controls_found(patching.settings, patching.study.seed, trials, tested),
        "readers.json": _readers_compared(trials, patching.settings.reader),
        "ladder.json": climb(patching, trials, tested),
        "original.json": original_study(),
    }
    return Outcome(
        {"effects": tested},
        beside=[_document(patching.file(name), said) for name, said in documents.items()],
    )


def _document(name: str, said: Any) -> Callable[[Store], object]:
    return lambda store: store.write_json(name, said)


def _tested(patching: "Patching", trials: pd.DataFrame) -> pd.DataFrame:
    settings = patching.settings
    if settings.sequential is None:
        return effects(trials, settings.fdr, test=settings.statistics.test)
    rule = rule_of(settings, len(patching.bank) * len(settings.scenes))
    return sequential_effects(trials, rule)


def read_trials(store: Store, name: str, keys: Iterable[str]) -> pd.DataFrame:
    """Rows of finished units, read by a reader.

    Reading is a step over stored text: where a part was read by another reader or version, its
    responses are read again here, and the stored rows stay as they are.
    """
    frame = store.read("trials", keys).to_pandas()
    wanted = reader(name)
    stale = frame.index[frame["reader"] != f"{wanted.name}/{wanted.version}"]
    for i in stale:
        row = frame.loc[i]
        again = wanted.read(row["response"], scene(row["prompt"]).menu, row["finish"])
        for column, value in reading_columns(again).items():
            frame.at[i, column] = value
    return frame


def checkpoint_rows(store: Store, name: str, parts: Iterable[Unit]) -> list[dict[str, Any]]:
    """One row a feature or control of a finished chunk: stop rates by scene and value."""
    trials = read_trials(store, name, [unit.key for unit in parts])
    rows = []
    names = ["role", "layer", "feature"]
    for (role, layer, feature), of_feature in trials.groupby(names, dropna=False):
        row: dict[str, Any] = {
            "what": role,
            "layer": "" if pd.isna(layer) else int(layer),
            "feature": "" if pd.isna(feature) else int(feature),
        }
        for (prompt, arm), runs in of_feature.groupby(["scene", "arm"]):
            decided = runs[runs["decision"] != "none"]
            share = (decided["decision"] == "stop").mean() if len(decided) else None
            row[f"stop rate, {prompt}, {arm}"] = None if share is None else round(float(share), 3)
        row["undecided"] = int((of_feature["decision"] == "none").sum())
        rows.append(row)
    return rows


def _readers_compared(trials: pd.DataFrame, name: str) -> list[dict[str, Any]]:
    """What the original study's keyword reader would have made of these responses, against ours."""
    columns = ["prompt", "response", "finish"]
    responses = (
        Response(scene_of(prompt), scene(prompt).menu, text, finish)
        for prompt, text, finish in trials[columns].itertuples(index=False)
    )
    return [cell._asdict() for cell in compare(responses, old="original-exp2", new=name)]
