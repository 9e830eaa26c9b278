"""A whole study at the smallest scale at which its statistics still hold, on the lab's LLaMA."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

from deployments.settings import ROOT
from pitboss.experiments.games import experiment as games
from pitboss.experiments.patching import effects
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.pathway import attribution, decoding
from pitboss.experiments.pathway import experiment as pathway
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.screening import experiment as screening
from pitboss.experiments.screening import ranking
from pitboss.experiments.selection import experiment as features
from pitboss.experiments.words import contexts
from pitboss.experiments.words import experiment as words
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.store import PartRef, Store
from pitboss.studies.loading import parse_study
from pitboss.studies.model import Study

ALIAS = "llama"
LAYERS = [1, 3]
NO_CONTROLS = {
    "random_features": 0,
    "random_directions": 0,
    "own_value": 0,
    "reconstruction": False,
}
VARIABLE = [condition.key for condition in ALL_CONDITIONS if condition.bet_type == "variable"]


class Whole(NamedTuple):
    """A study that went through all experiments, and the lane that did it."""

    study: Study
    store: Store
    lane: Lane


def settings(**sections: dict[str, Any]) -> dict[str, Any]:
    """The demo study made small; each argument changes fields of one section."""
    made = yaml.safe_load((ROOT / "studies" / "demo.yaml").read_text(encoding="utf-8"))
    del made["models"]["gemma"], made["floor"]["games"]["gemma"]
    made["name"] = "small"
    made.pop("persistent", None)  # has tests of its own
    small: dict[str, dict[str, Any]] = {
        "games": {
            "models": [ALIAS],
            "conditions": [*VARIABLE, "fixed/BASE", "fixed/GMRWP"],
            "repetitions": 2,
            "batch": 48,
            "max_rounds": 8,
        },
        "features": {"layers": LAYERS, "per_layer": 4, "min_group": 10},
        "pathway": {
            "bankruptcies": 5,
            "stops": 6,
            "max_games": 96,
            "batch": 24,
            "layers": LAYERS,
            "top_features": 5,
        },
        "patching": {
            "chunk": 16,
            "states": None,
            "confirmation": None,
            "controls": {"random_features": 6, "random_directions": 6, "own_value": 2},
        },
        "words": {"top_tokens": 10, "contexts": {"top": 5, "texts": 60}},
    }
    for changes in (small, sections):
        for section, fields in changes.items():
            made[section] |= fields
    return made


def small_study(**sections: dict[str, Any]) -> Study:
    """The small study, validated."""
    return parse_study(settings(**sections))


def run_everything(study: Study, store: Store, lane: Lane) -> None:
    """All experiments in the plan's order; what is finished is not done again."""
    for unit in games.units(study, ALIAS):
        games.run(lane, store, unit)
    for unit in features.units(study, ALIAS):
        features.run(lane, store, unit)
    features.select_features(study, store, ALIAS)
    while batch := pathway.next_unit(study, store):
        pathway.run(lane, store, batch)
    pathway.analyse(study, store)
    decoding.run(lane, store, decoding.unit(study, store))
    if work := attribution.unit(study):
        attribution.run(lane, store, work)
    for unit in patching.all_units(study, store):
        patching.run(lane, store, unit)
    effects.run(study, store)
    words.run(lane, store, words.unit(study, store))
    contexts.run(lane, store, contexts.unit(study, store))
    for unit in screening.units(study, store) if study.screening else ():
        screening.run(lane, store, unit)
    if study.screening:
        ranking.run(study, store)


def parts(store: Store, kinds: Iterable[str]) -> list[PartRef]:
    """References of all finished parts of some kinds."""
    return [ref for kind in kinds for ref in store.refs(kind)]


def parquet_bytes(store: Store) -> dict[str, bytes]:
    """Every Parquet file of a study, by its path in the study's folder."""
    files = sorted(store.path.rglob("*.parquet"))
    return {path.relative_to(store.path).as_posix(): path.read_bytes() for path in files}
