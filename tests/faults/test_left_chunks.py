"""Chunks that do not fit on a lane: it tries each once, leaves them to others, and says so."""

import shutil
from pathlib import Path

import pytest

from flows.experiments import patching
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.unit import Unit
from tasks.model import DoesNotFit
from tests.faults.patched import STUDY, prepare


def test_a_lane_goes_on_with_other_chunks_and_fails_only_at_its_end(
    prefect_api: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path / "results")
    tried: list[str] = []

    def too_large(plan: Plan, unit: Unit) -> None:
        tried.append(unit.slug)
        raise DoesNotFit("One row alone does not fit.")

    monkeypatch.setattr("tasks.parts.carry_out_here", too_large)
    monkeypatch.setattr("flows.perform.load_if_needed", lambda *_: None)
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr("tasks.study.ROOT", tmp_path)
    shutil.copy(STUDY, tmp_path / "killed.yaml")
    with pytest.raises(DoesNotFit, match=r"5 chunks do not fit .*llama/L01-0000"):
        patching(study="killed.yaml", shard=1, shards=2)
    assert tried[0] == "llama/baseline" and len(tried) == len(set(tried)) == 5
    own = ["llama/L01-0004", "llama/L02-0004"]
    assert tried[1:3] == own  # its own share before the others'
