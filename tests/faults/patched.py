"""A small patching study on planted features, and what its folder looks like from outside."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.selection.experiment import bank_path, selection_key
from pitboss.models.catalogue import LAB_DIR
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import load_sae
from pitboss.store import Store
from pitboss.studies.loading import load_study
from pitboss.studies.model import Study

STUDY = Path(__file__).with_name("killed.yaml")
PER_LAYER = 8


class Finished(NamedTuple):
    """A finished part's file and record: time of the last change, and what the record says."""

    part_changed: int
    record_changed: int
    record: dict[str, Any]


def prepare(results: Path, path: Path = STUDY) -> tuple[Study, Store]:
    """The study's folder with a bank of planted features, as the features experiment leaves it."""
    study = load_study(path)
    store = open_store(study, results)
    release = study.models["llama"].sae
    known = json.loads((LAB_DIR / "planted.json").read_text(encoding="utf-8"))[release]
    chosen = {layer: known[str(layer)][:PER_LAYER] for layer in study.features.layers}
    FeatureBank.build(
        (load_sae(release, layer, study.features.gate) for layer in chosen),
        {layer: [entry["feature"] for entry in entries] for layer, entries in chosen.items()},
        values={
            name: {(layer, e["feature"]): e[name] for layer, es in chosen.items() for e in es}
            for name in ("safe", "risky")
        },
        meta={
            "model": study.models["llama"].id,
            "sae": release,
            "gate": study.features.gate,
            "features": selection_key(study, "llama"),
        },
    ).save(bank_path(store, "llama"))
    return study, store


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
