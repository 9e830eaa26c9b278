"""Speeds from a study's own finished parts."""

from pathlib import Path

import pytest

from pitboss.cli.floor import PILOTS, main
from pitboss.errors import BadInput
from pitboss.experiments.games import experiment as games
from pitboss.experiments.runtime.context import open_lane
from pitboss.experiments.runtime.study import open_store
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.pilots import read_pilots
from pitboss.floor.planning.timed import CPU, timed
from tests.experiments.small import ALIAS, small_study


def test_finished_parts_become_pilots_and_pilots_become_hours(tmp_path: Path) -> None:
    study = small_study(games={"conditions": ["fixed/BASE"], "repetitions": 4, "max_rounds": 3})
    store, lane = open_store(study, tmp_path), open_lane(study, ALIAS, "cpu")
    for unit in games.units(study, ALIAS):
        games.run(lane, store, unit)

    found = {record.experiment: record for record in timed(store, CPU)}
    assert set(found) == {"games"}
    parts = store.records("games")
    played = sum(part.ref.rows for part in parts)
    seconds = sum(part.facts["seconds"] for part in parts)
    assert found["games"].units_per_second == pytest.approx(played / seconds)
    assert found["games"].model == "pitboss/lab-llama"
    with pytest.raises(BadInput, match="took on a cuda device"):
        timed(store, "NVIDIA H200")

    assert main(["--state", str(tmp_path), "pilot", str(store.path), "--kind", CPU]) == 0
    work = study_work(study, [CPU], read_pilots(tmp_path / PILOTS))
    hours = next(job for job in work.jobs if job.name == f"Exp0-{ALIAS}").on(CPU)
    assert hours is not None and hours.value * 3600 == pytest.approx(seconds, rel=0.01)
    assert hours.source.startswith("pilot on cpu, 20")
