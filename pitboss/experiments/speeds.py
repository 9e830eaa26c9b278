"""How long an experiment takes, told from what the same kind took here before."""

from pathlib import Path
from typing import NamedTuple

from pitboss.errors import PitbossError
from pitboss.experiments.registry import parse_study, plan_of
from pitboss.store import Store
from pitboss.store.store import MANIFEST


class Speed(NamedTuple):
    """Seconds of work that one run took: runs as the workload counts them, devices as they were.

    Attributes:
        study: The study it was measured in.
        device: What that ran on.
    """

    seconds: float
    study: str
    device: str


def measured(results: Path) -> dict[tuple[str, str], Speed]:
    """(kind of experiment, model id) -> the newest speed that finished studies show.

    A study of another version of Pitboss, or whose settings cannot be read, tells nothing.
    """
    found: dict[tuple[str, str], tuple[float, Speed]] = {}
    for path in sorted(results.glob(f"*/{MANIFEST}")):
        try:
            speeds = _of_study(Store.open(path.parent))
        except PitbossError:
            continue
        for name, (finished, speed) in speeds.items():
            if name not in found or finished > found[name][0]:
                found[name] = finished, speed
    return {name: speed for name, (_, speed) in found.items()}


def study_settings(store: Store) -> dict[str, object]:
    """The settings that a folder was made with, without what was resolved from them."""
    return {k: v for k, v in store.manifest.items() if k not in ("resolved", "versions")}


def _of_study(store: Store) -> dict[tuple[str, str], tuple[float, Speed]]:
    plan = plan_of(parse_study(study_settings(store), where=str(store.path)), store)
    found = {}
    kinds = [p.name for p in (store.path / "records").iterdir() if p.name != "final"]
    facts = [record.facts for kind in kinds for record in store.records(kind)]
    for experiment in plan:
        mine = [f for f in facts if f.get("experiment") == experiment.name and "seconds" in f]
        runs = sum(work.runs for work in experiment.workload())
        if mine and runs and _is_whole(store, experiment.name):
            seconds = sum(float(f["seconds"]) for f in mine)
            device = next((str(f["device"]) for f in mine if "device" in f), "")
            speed = Speed(seconds / runs, plan.study.name, device)
            for model in experiment.models:
                name = experiment.settings.kind, plan.study.models[model].id
                found[name] = max(float(f["finished"]) for f in mine), speed
    return found


def _is_whole(store: Store, name: str) -> bool:
    """Whether the summary counts the experiment as finished."""
    if not (store.path / "summary.json").is_file():
        return False
    return any(label.split()[0] == name for label in store.read_json("summary.json")["experiments"])
