"""Chunks that do not fit here: a worker tries each once, leaves them to others, and says so."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.experiments import patching
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.unit import Unit
from tasks.model import DoesNotFit, carry_out_here
from tests.faults.patched import STUDY, prepare


def test_a_worker_goes_on_with_other_chunks_and_fails_only_at_its_end(
    prefect_api: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path / "results")
    tried: list[str] = []

    def too_large(plan: Plan, unit: Unit) -> dict[str, Any]:
        if unit.slug == "llama/baseline":
            return carry_out_here(plan, unit)
        tried.append(unit.slug)
        raise DoesNotFit("One row alone does not fit.")

    monkeypatch.setattr("tasks.parts.carry_out_here", too_large)
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr("tasks.study.ROOT", tmp_path)
    shutil.copy(STUDY, tmp_path / "killed.yaml")
    with pytest.raises(DoesNotFit, match=r"4 units do not fit .*llama/L01-0000"):
        patching(study="killed.yaml", shard=1, shards=2)
    assert len(tried) == len(set(tried)) == 4
    own = ["llama/L01-0004", "llama/L02-0004"]
    assert tried[:2] == own  # its own share before the others'
