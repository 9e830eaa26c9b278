"""A small patching study on planted features, and what its folder looks like from outside."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from pitboss.experiments.registry import load_study, plan_of
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.selection.experiment import Selection
from pitboss.models.catalogue import LAB_DIR
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import load_sae
from pitboss.store import Store, table_of

STUDY = Path(__file__).with_name("killed.yaml")
PER_LAYER = 8


class Finished(NamedTuple):
    """A finished part's file and record: time of the last change, and what the record says."""

    part_changed: int
    record_changed: int
    record: dict[str, Any]


def prepare(results: Path, path: Path = STUDY) -> Plan:
    """A study with a bank of planted features in its folder, as their selection leaves it.

    Returns:
        The study's plan. What is left to do is the patching, which reads no game.
    """
    study = load_study(path)
    plan = plan_of(study, open_store(study, results))
    selection = plan["features"]
    assert isinstance(selection, Selection)
    known = json.loads((LAB_DIR / "planted.json").read_text(encoding="utf-8"))[selection.sae]
    chosen = {layer: known[str(layer)][:PER_LAYER] for layer in selection.layers}
    FeatureBank.build(
        (load_sae(selection.sae, layer, selection.gate) for layer in chosen),
        {layer: [entry["feature"] for entry in entries] for layer, entries in chosen.items()},
        values={
            name: {(layer, e["feature"]): e[name] for layer, es in chosen.items() for e in es}
            for name in ("safe", "risky")
        },
        meta=selection.bank_meta,
    ).save(selection.bank_path)
    common = {"model": study.spec("llama").id, "sae": selection.sae, "chosen_by": "included"}
    rows = [
        {**common, "layer": layer, **{name: e[name] for name in ("feature", "safe", "risky")}}
        for layer, entries in chosen.items()
        for e in entries
    ]
    table, identity = table_of("features", rows), selection.choice.identity
    plan.store.commit("features", selection.key, table, identity=identity)
    return plan


def finished(store: Store) -> dict[str, Finished]:
    """Every finished chunk by its key."""
    found = {}
    for ref in store.refs("trials"):
        record = store.path / "records" / "trials" / f"{ref.key}.json"
        found[ref.key] = Finished(
            (store.path / ref.path).stat().st_mtime_ns,
            record.stat().st_mtime_ns,
            json.loads(record.read_text(encoding="utf-8")),
        )
    return found


def trial_files(store: Store) -> dict[str, bytes]:
    """The Parquet files of all chunks, by name."""
    folder = store.path / "parts" / "trials"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.parquet")}
