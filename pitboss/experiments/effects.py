"""What the patched runs say: tests once all are there, a table after each chunk."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from pitboss.analysis.effects import effects
from pitboss.experiments import patching
from pitboss.experiments.arms import BASELINE
from pitboss.experiments.play import reading_columns
from pitboss.experiments.units import Unit
from pitboss.games.prompts import render
from pitboss.games.reading import reader
from pitboss.games.reading.compare import Agreement, Response, compare
from pitboss.saes.planted import ROLES, planted
from pitboss.store import PartRef, Store, part_key, require_counts, table_of
from pitboss.studies.model import Study


def run(study: Study, store: Store) -> PartRef:
    """Test every feature and prompt, once all runs are there.

    Raises:
        Incomplete: A unit is missing, or has other rows than it should.
    """
    wanted = patching.all_units(study, store)
    keys = [unit.key for unit in wanted]
    store.coverage("trials", keys).require()
    rows = {unit.slug: unit.rows or 0 for unit in wanted}
    require_counts(rows, {unit.slug: ref.rows for unit in wanted if (ref := unit.ref(store))})
    tested = effects(read_trials(study, store, keys), study.patching.fdr)
    return store.commit(
        "effects",
        key(study, store),
        table_of("effects", tested),
        identity=_identity(study, keys),
    )


def key(study: Study, store: Store) -> str:
    """Content key of the effects of all runs."""
    keys = [unit.key for unit in patching.all_units(study, store)]
    return part_key(study.patching.model, _identity(study, keys))


def _identity(study: Study, trials: list[str]) -> dict[str, Any]:
    settings = study.patching
    read_by = f"{settings.reader}/{reader(settings.reader).version}"
    return {"trials": trials, "fdr": settings.fdr, "reader": read_by}


def read_trials(study: Study, store: Store, keys: Iterable[str]) -> pd.DataFrame:
    """Rows of finished units, read by the study's reader.

    Reading is a step over stored text: where a part was read by another reader or version, its
    responses are read again here, and the stored rows stay as they are.
    """
    frame = store.read("trials", keys).to_pandas()
    wanted = reader(study.patching.reader)
    stale = frame.index[frame["reader"] != f"{wanted.name}/{wanted.version}"]
    menus = {name: render(name).menu for name in study.patching.prompts}
    for i in stale:
        row = frame.loc[i]
        again = wanted.read(row["response"], menus[row["prompt"]], row["finish"])
        for column, value in reading_columns(again).items():
            frame.at[i, column] = value
    return frame


def checkpoint_rows(study: Study, store: Store, unit: Unit) -> list[dict[str, Any]]:
    """One row a feature of a finished chunk: stop rates by prompt and value, runs undecided."""
    trials = read_trials(study, store, [unit.key])
    rows = []
    for (layer, feature), of_feature in trials.groupby(["layer", "feature"], dropna=False):
        named = not pd.isna(layer)
        row: dict[str, Any] = {
            "layer": int(layer) if named else BASELINE,
            "feature": int(feature) if named else "",
        }
        for (prompt, arm), runs in of_feature.groupby(["prompt", "arm"]):
            decided = runs[runs["decision"] != "none"]
            share = (decided["decision"] == "stop").mean() if len(decided) else None
            row[f"stop rate, {prompt}, {arm}"] = None if share is None else round(float(share), 3)
        row["undecided"] = int((of_feature["decision"] == "none").sum())
        rows.append(row)
    return rows


def readers_compared(study: Study, store: Store) -> list[Agreement]:
    """What the original study's keyword reader would have made of these responses, against ours."""
    keys = [unit.key for unit in patching.all_units(study, store)]
    menus = {name: render(name).menu for name in study.patching.prompts}
    columns = ["prompt", "response", "finish"]
    stored = store.read("trials", keys, columns=columns).to_pandas()
    responses = (
        Response(prompt, menus[prompt], text, finish)
        for prompt, text, finish in stored[columns].itertuples(index=False)
    )
    return compare(responses, old="original-exp2", new=study.patching.reader)


def known_answers(study: Study) -> dict[str, set[tuple[int, int]]]:
    """(layer, feature) of the planted features by role; empty sets where none are included."""
    release = study.models[study.patching.model].sae
    known = planted(release) if study.features.include == "planted" else {}
    return {
        role: {
            (layer, feature)
            for layer, roles in known.items()
            if layer in study.features.layers
            for feature in roles[role]
        }
        for role in ROLES
    }
