"""Every content key of a study, found without a model.

A study's experiments are walked in their order, stage by stage. Each unit is stored as soon as it
is known, with made-up tables in the place of results, because later units follow from them: which
features were selected and which were causal, at which values, and how the pathway's games ended.
These facts are in `stubs.json`: those of `demo` as its finished run left them, the others made up.
All other tables are empty.

`python -m tests.golden.walk` writes `keys.json` anew. It is for a change that is meant to change
keys, and the change is then to be seen in the difference of that file.
"""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from pitboss.experiments.patching import random_bank
from pitboss.experiments.patching.arms import BASELINE, Chunk
from pitboss.experiments.patching.experiment import DOCUMENTS, Patching
from pitboss.experiments.pathway.experiment import Pathway
from pitboss.experiments.registry import load_study, plan_of
from pitboss.experiments.runtime.experiment import Experiment
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.experiments.screening.experiment import Screening
from pitboss.experiments.selection.experiment import Selection
from pitboss.saes.bank import FeatureBank
from pitboss.store import Store, part_key
from pitboss.store.schemas import kind_of

HERE = Path(__file__).parent
STUDIES = HERE.parents[1] / "studies"
FILES = {
    "demo": STUDIES / "demo.yaml",
    "plan": STUDIES / "plan.yaml",
    "variants": HERE / "variants.yaml",
}
Keys = dict[str, list[str]]
"""Table kind -> content keys, in the order of the plan."""


def stubs_of(name: str) -> dict[str, Any]:
    """What a study's made-up results are: see `stubs.json`."""
    found: dict[str, Any] = json.loads((HERE / "stubs.json").read_text(encoding="utf-8"))[name]
    return found


def golden() -> dict[str, Keys]:
    """Study -> its keys as they are to be."""
    found: dict[str, Keys] = json.loads((HERE / "keys.json").read_text(encoding="utf-8"))
    return found


def keys_of(name: str, root: Path) -> Keys:
    """The keys of a study of `FILES`, as the present code makes them.

    Args:
        root: An empty folder.
    """
    study = load_study(FILES[name])
    plan, stubs = plan_of(study, open_store(study, root)), stubs_of(name)
    found: Keys = {}
    for experiment in plan:
        for model in experiment.models:
            for units in experiment.stages(model):
                for part in (part for unit in units for part in experiment.parts(unit)):
                    for kind in part.kinds:
                        found.setdefault(kind, []).append(_key(part, plan, stubs))
                    if isinstance(part.payload, Chunk) and part.payload.role != BASELINE:
                        continue  # nothing follows from runs but the effects, which are made up
                    outcome = made_up(experiment, part, stubs)
                    replace(part, rows=None).complete(plan.store, outcome, began=0.0)
    return found


def _key(unit: Unit, plan: Plan, stubs: Mapping[str, Any]) -> str:
    """A unit's key, had the tables that it names by their bytes the bytes that the stubs say.

    Those written here are others with every version of the Parquet library.
    """
    hashes = {
        ref.sha256: stubs["sha256"][kind]
        for kind in ("effects", "tokens", "contexts")
        for ref in plan.store.refs(kind)
    }
    named = {
        field: hashes[value]
        for field, value in unit.identity.items()
        if isinstance(value, str) and value in hashes
    }
    return part_key(unit.slug, {**unit.identity, **named})


def made_up(experiment: Experiment[Any], unit: Unit, stubs: Mapping[str, Any]) -> Outcome:
    """What a unit leaves here."""
    tables = {kind: filled(kind, []) for kind in unit.kinds}
    if isinstance(experiment, Selection) and unit.kind == "features":
        bank = bank_of(stubs["bank"], experiment.bank_meta)
        return Outcome(tables, beside=[lambda _: bank.save(experiment.bank_path)])
    if isinstance(experiment, Screening) and unit.kind == "ranking":
        [count] = experiment.counts or [0]
        leading = bank_of(stubs["bank"], experiment.bank_meta(count)) if count else None
        keep = [lambda _: leading.save(experiment.bank_path(count))] if leading else []
        return Outcome(tables, beside=keep)
    if isinstance(experiment, Pathway) and unit.kind == "games":
        ends = stubs["pathway"][int(unit.slug[-4:])]
        rows = [{"outcome": outcome} for outcome, n in ends.items() for _ in range(n)]
        return Outcome({**tables, "games": filled("games", rows)})
    if isinstance(experiment, Patching) and unit.kind == "trials":
        random = bank_of(stubs["random"], random_bank.expected(experiment))
        path = random_bank.path_of(experiment)
        return Outcome(tables, beside=[lambda _: random.save(path)])
    if isinstance(experiment, Patching) and unit.kind == "effects":
        tables["effects"] = effects_of(stubs["causal"])
        names = [experiment.file(name) for name in DOCUMENTS]
        return Outcome(tables, beside=[partial(Store.write_json, name=n, obj={}) for n in names])
    return Outcome(tables)


def bank_of(stub: Mapping[str, Any], meta: Mapping[str, Any]) -> FeatureBank:
    """A bank whose vectors are empty: they are in no key."""
    layer, feature, safe, risky = zip(*stub["features"], strict=True)
    vectors = {name: torch.zeros(len(layer), 1) for name in ("enc", "dec")}
    gates = {name: torch.zeros(len(layer)) for name in ("shift", "scale", "bias", "threshold")}
    return FeatureBank(
        layer=torch.tensor(layer),
        feature=torch.tensor(feature),
        **vectors,
        **gates,
        values={"safe": torch.tensor(safe), "risky": torch.tensor(risky)},
        meta={**meta, **stub["meta"]},
    )


def effects_of(rows: list[list[Any]]) -> pa.Table:
    """Effects on stopping of causal features: layer, feature, scene, difference, p, significant."""
    names = ("layer", "feature", "prompt", "difference", "p", "significant")
    same = {
        "role": "feature",
        "phase": "discovery",
        "contrast": "safe_vs_risky",
        "outcome": "stop",
        "causal": True,
    }
    return filled("effects", [{**dict(zip(names, row, strict=True)), **same} for row in rows])


def filled(kind: str, rows: list[dict[str, Any]]) -> pa.Table:
    """A table of a kind; what a row does not say is null, or the type's empty value."""
    described = kind_of(kind)
    columns = {}
    for column in described.columns:
        empty = None if column.nullable else _empty(column.type)
        own = [row.get(column.name, empty) for row in rows]
        if described.primary == (column.name,):
            own = [str(number) for number in range(len(rows))]
        columns[column.name] = pa.array(own, column.type)
    return pa.table(columns)


def _empty(kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = {name: keys_of(name, Path(folder)) for name in FILES}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (HERE / "keys.json").write_text(text + "\n", encoding="utf-8")
