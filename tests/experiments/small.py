"""A whole study at the smallest scale at which its statistics still hold, on the lab's LLaMA."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from deployments.settings import ROOT
from pitboss.experiments.registry import parse_study, plan_of
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.store import PartRef, Store
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
    """A study that went through all experiments, and the model that did it."""

    plan: Plan
    context: ModelContext

    @property
    def study(self) -> Study:
        return self.plan.study

    @property
    def store(self) -> Store:
        return self.plan.store


def settings(**changes: dict[str, Any]) -> dict[str, Any]:
    """The demo study made small; each argument changes fields of a section or an experiment."""
    made = yaml.safe_load((ROOT / "studies" / "demo.yaml").read_text(encoding="utf-8"))
    del made["models"]["gemma"]
    made["name"] = "small"
    for with_tests_of_its_own in ("clamped", "confirmation"):
        del made["experiments"][with_tests_of_its_own]
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
            "controls": {"random_features": 6, "random_directions": 6, "own_value": 2},
        },
        "words": {"top_tokens": 10, "contexts": {"top": 5, "texts": 60}},
    }
    for each in (small, changes):
        for name, fields in each.items():
            place = made if name in Study.model_fields else made["experiments"]
            place.setdefault(name, {}).update(fields)
    return made


def small_study(**changes: dict[str, Any]) -> Study:
    """The small study, validated."""
    return parse_study(settings(**changes))


def small_plan(root: Path, **changes: dict[str, Any]) -> Plan:
    """The small study with a store of its own below `root`."""
    study = small_study(**changes)
    return plan_of(study, open_store(study, root))


def on(context: ModelContext, plan: Plan) -> ModelContext:
    """The same loaded model for another study."""
    return ModelContext(plan.study, context.alias, context.loaded, [])


def run_everything(plan: Plan, context: ModelContext) -> None:
    """All experiments in order; what is finished is not done again."""
    for experiment in plan:
        for model in experiment.models:
            carry_out_all(plan, experiment, model, lambda alias: context)


def parts(store: Store, kinds: Iterable[str]) -> list[PartRef]:
    """References of all finished parts of some kinds."""
    return [ref for kind in kinds for ref in store.refs(kind)]


def parquet_bytes(store: Store) -> dict[str, bytes]:
    """Every Parquet file of a study, by its path in the study's folder."""
    files = sorted(store.path.rglob("*.parquet"))
    return {path.relative_to(store.path).as_posix(): path.read_bytes() for path in files}
