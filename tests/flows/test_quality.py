"""Flows stop for responses of no use, keep what they have, and go on where the limits allow it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.experiments import clamped_games, games, patching, pathway
from pitboss.errors import PoorResponses
from pitboss.experiments.registry import load_study
from pitboss.experiments.runtime.study import open_store
from pitboss.models.catalogue import LAB_DIR
from tests.faults.patched import STUDY, prepare

Write = Callable[..., str]
ABSENT = object()
NOT_A_LINE = {"max_new_tokens": 2}  # "Final Decision: ..." takes more


@pytest.fixture
def write(prefect_api: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a small study, with some experiments changed, where flows look for it."""

    def written(quality: Any = ABSENT, **experiments: Any) -> str:
        made = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
        for name, changes in experiments.items():
            made["experiments"].setdefault(name, {}).update(changes)
        if quality is not ABSENT:
            made["quality"] = quality
        path = tmp_path / "studies" / "some.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(made, sort_keys=False), encoding="utf-8")
        return "studies/some.yaml"

    monkeypatch.setattr("tasks.study.ROOT", tmp_path)
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path / "results"))
    return written


def stored(folder: Path, kind: str) -> int:
    study = load_study(folder / "studies" / "some.yaml")
    return len(open_store(study, folder / "results").refs(kind))


def test_games_that_are_cut_off_stop_long_before_their_end(write: Write, tmp_path: Path) -> None:
    # Each game asks four times: 40 responses a batch, 4 batches.
    short = {"repetitions": 40, "batch": 10, "sampling": NOT_A_LINE}
    study = write(games=short, quality={"after": 60})
    with pytest.raises(PoorResponses) as refused:
        games(study=study)
    assert "Of the first 80 responses of games, 0% state a decision" in str(refused.value)
    assert "100% were cut off" in str(refused.value) and "80 truncated" in str(refused.value)
    assert stored(tmp_path, "games") == stored(tmp_path, "decisions") == 2

    with pytest.raises(PoorResponses, match="first 80 responses"):
        games(study=study)  # again: nothing more is played
    assert stored(tmp_path, "games") == 2
    games(study=write(games=short, quality=None))  # the same study, which now goes on
    assert stored(tmp_path, "games") == 4


def test_a_pathway_that_cannot_be_read_stops(write: Write, tmp_path: Path) -> None:
    limits = {"kind": "pathway", "model": "llama", "conditions": ["variable/BASE"], "layers": [1]}
    limits |= {"max_games": 60, "batch": 10, "bankruptcies": 5, "stops": 5}
    study = write(pathway={**limits, "sampling": NOT_A_LINE}, quality={"after": 60})
    with pytest.raises(PoorResponses, match="first 80 responses of pathway, 0% state"):
        pathway(study=study)
    assert stored(tmp_path, "games") == 2


def test_patching_is_judged_by_its_baseline(write: Write, tmp_path: Path) -> None:
    # One token is no choice: 2 may still become 20.
    study = write(patching={"sampling": {"max_new_tokens": 1}})
    prepare(tmp_path / "results", tmp_path / study)
    with pytest.raises(PoorResponses) as refused:
        patching(study=study)
    for scene in ("exp2/safe", "exp2/risky"):
        assert f"6 responses of patching without a patch, {scene}, 0% state" in str(refused.value)
    assert stored(tmp_path, "trials") == 1


def test_games_under_patches_are_judged_by_those_without(write: Write, tmp_path: Path) -> None:
    planted = json.loads((LAB_DIR / "planted.json").read_text(encoding="utf-8"))
    feature = planted["pitboss/lab-llama-scope"]["1"][0]["feature"]
    clamped = {"kind": "clamped_games", "patching": "patching", "features": {1: [feature]}}
    clamped |= {"repetitions": 5, "sampling": NOT_A_LINE}
    study = write(clamped=clamped)
    prepare(tmp_path / "results", tmp_path / study)
    with pytest.raises(PoorResponses, match="20 responses of clamped without a patch, 0%"):
        clamped_games(study=study)
    assert stored(tmp_path, "persistent") == 1
