"""Speeds from a study's own finished parts."""

from pathlib import Path

import pytest

from pitboss.cli import main
from pitboss.errors import BadInput
from pitboss.experiments.registry import settings_types
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.experiments.runtime.context import open_context
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.pilots import CPU, FILE, read_pilots, timed
from tests.experiments.small import ALIAS, small_plan

COUNTED = {kind: each.counted for kind, each in settings_types().items() if each.counted}


def test_finished_parts_become_pilots_and_pilots_become_hours(tmp_path: Path) -> None:
    games = {"conditions": ["fixed/BASE"], "repetitions": 4, "max_rounds": 3}
    plan = small_plan(tmp_path / "results", games=games)
    context = open_context(plan.study, ALIAS, "cpu")
    carry_out_all(plan, plan["games"], ALIAS, lambda alias: context)

    (found,) = timed(plan.store, CPU, COUNTED)
    parts = plan.store.records("games")
    played = sum(part.ref.rows for part in parts)
    seconds = sum(part.facts["seconds"] for part in parts)
    assert found.units_per_second == pytest.approx(played / seconds)
    assert (found.experiment, found.model) == ("games", "pitboss/lab-llama")
    with pytest.raises(BadInput, match="took on a cuda device"):
        timed(plan.store, "NVIDIA H200", COUNTED)

    asked = ["pilot", plan.study.name, "--results", str(tmp_path / "results"), "--kind", CPU]
    assert main(["floor", *asked, "--state", str(tmp_path)]) == 0
    work = study_work(plan.study, plan["games"].workload(), [CPU], read_pilots(tmp_path / FILE))
    hours = next(job for job in work.jobs if job.name == f"Exp0-{ALIAS}").on(CPU)
    assert hours is not None and hours.value * 3600 == pytest.approx(seconds, rel=0.01)
    assert hours.source.startswith("pilot on cpu, 20")
