"""What the patched runs say: tests once all are there, a table after each chunk."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from pitboss.analysis.effects import effects
from pitboss.analysis.looks import sequential_effects
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.patching import findings
from pitboss.experiments.patching.controls_found import CONTROLS, controls_found
from pitboss.experiments.patching.interim import rule_of
from pitboss.experiments.runtime.play import reading_columns
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening.ranking import patched_bank
from pitboss.games.reading import reader
from pitboss.games.reading.compare import Agreement, Response, compare
from pitboss.games.scenes import scene, scene_of
from pitboss.saes.planted import ROLES, planted
from pitboss.store import PartRef, Store, part_key, require_counts, table_of
from pitboss.studies.model import Study


def run(study: Study, store: Store) -> PartRef:
    """Test every feature and control in every scene, once all runs are there.

    Writes controls.json too, and the findings unless a confirmation follows.

    Raises:
        Incomplete: A unit is missing, or has other rows than it should.
        Mismatch: A feature set to its own value changed a response.
    """
    wanted = patching.all_units(study, store)
    keys = [unit.key for unit in wanted]
    store.coverage("trials", keys).require()
    rows = {unit.slug: unit.rows or 0 for unit in wanted}
    require_counts(rows, {unit.slug: ref.rows for unit in wanted if (ref := unit.ref(store))})
    trials = read_trials(study, store, keys)
    tested = _tested(study, store, trials)
    store.write_json(CONTROLS, controls_found(study, trials, tested))
    ref = store.commit(
        "effects",
        key(study, store),
        table_of("effects", tested),
        identity=_identity(study, keys),
    )
    if study.patching.confirmation is None:
        findings.commit(study, store, ref.key)
    return ref


def _tested(study: Study, store: Store, trials: pd.DataFrame) -> pd.DataFrame:
    settings = study.patching
    if settings.sequential is None:
        return effects(trials, settings.fdr, test=study.statistics.test)
    scenes = len(settings.prompts) + (settings.states is not None)
    return sequential_effects(trials, rule_of(study, len(patched_bank(study, store)) * scenes))


def key(study: Study, store: Store) -> str:
    """Content key of the effects of all runs."""
    keys = [unit.key for unit in patching.all_units(study, store)]
    return part_key(study.patching.model, _identity(study, keys))


def _identity(study: Study, trials: list[str]) -> dict[str, Any]:
    settings = study.patching
    return {
        "trials": trials,
        "fdr": settings.fdr,
        "reader": read_by(study),
        "test": study.statistics.test,
    }


def read_by(study: Study) -> str:
    """Name and version of the reader under which the patching's responses are tested."""
    name = study.patching.reader
    return f"{name}/{reader(name).version}"


def read_trials(study: Study, store: Store, keys: Iterable[str]) -> pd.DataFrame:
    """Rows of finished units, read by the study's reader.

    Reading is a step over stored text: where a part was read by another reader or version, its
    responses are read again here, and the stored rows stay as they are.
    """
    frame = store.read("trials", keys).to_pandas()
    wanted = reader(study.patching.reader)
    stale = frame.index[frame["reader"] != f"{wanted.name}/{wanted.version}"]
    for i in stale:
        row = frame.loc[i]
        again = wanted.read(row["response"], scene(row["prompt"]).menu, row["finish"])
        for column, value in reading_columns(again).items():
            frame.at[i, column] = value
    return frame


def checkpoint_rows(study: Study, store: Store, unit: Unit) -> list[dict[str, Any]]:
    """One row a feature or control of a finished chunk: stop rates by scene and value."""
    trials = read_trials(study, store, [u.key for u in patching.parts_of(store, unit)])
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


def readers_compared(study: Study, store: Store) -> list[Agreement]:
    """What the original study's keyword reader would have made of these responses, against ours."""
    keys = [unit.key for unit in patching.all_units(study, store)]
    columns = ["prompt", "response", "finish"]
    stored = store.read("trials", keys, columns=columns).to_pandas()
    responses = (
        Response(scene_of(prompt), scene(prompt).menu, text, finish)
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
