"""Chunks of a screening: neither their size nor a kill between them changes what is stored."""

import json
import os
import subprocess
import sys
from pathlib import Path

from deployments.settings import ROOT
from pitboss.experiments.screening import experiment as screening
from pitboss.experiments.screening import ranking
from tests.experiments.screened import after_selection, screen
from tests.experiments.small import Whole, parquet_bytes


def test_chunks_change_no_row(whole: Whole, tmp_path: Path) -> None:
    lane, store = after_selection(whole, tmp_path, screening={"chunk": 100})
    units = screening.units(lane.study, store)
    assert [len(unit.payload.features) for unit in units] == [100, 100, 56] * 2
    screen(lane, store)
    assert store.read("screening").equals(whole.store.read("screening"))
    assert ranking.top(lane.study, store).equals(ranking.top(whole.study, whole.store))


# Their vectors come from the bank, so that no process has to load an SAE; three chunks a layer.
SELECTED = {"features": "selected", "chunk": 10}
# One process loads the model and forks; each child goes on with the screening until it dies.
DIE_AGAIN_AND_AGAIN = """
import json, os, signal, sys
from pathlib import Path

import torch
torch.set_num_threads(1)

from pitboss.analysis.findings import primary_stops
from pitboss.experiments import ranking, screening
from pitboss.experiments.runtime.context import open_lane
from pitboss.experiments.runtime.study import open_store
from tests.experiments.small import ALIAS, small_study

study = small_study(screening=json.loads(sys.argv[2]))
lane = open_lane(study, ALIAS, "cpu")

def dying(call, left):
    def counted(*args, **kwargs):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return counted

for renames in map(int, sys.argv[3:]):
    if (pid := os.fork()) == 0:
        store = open_store(study, Path(sys.argv[1]))
        os.rename = dying(os.rename, renames)
        for unit in screening.units(study, store):
            screening.run(lane, store, unit)
        ranking.run(study, store)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(status, len(open_store(study, Path(sys.argv[1])).refs("screening")))
"""


def test_killed_anywhere_it_goes_on_to_the_same_bytes(whole: Whole, tmp_path: Path) -> None:
    lane, store = after_selection(whole, tmp_path / "undisturbed", screening=SELECTED)
    _, killed = after_selection(whole, tmp_path / "killed", screening=SELECTED)
    screen(lane, store)
    assert len(store.refs("screening")) == 6
    # Before the first part is in its place; between a part and its record; later; in the ranking.
    renames = ["1", "4", "3", "10", "0"]
    arguments = [json.dumps(SELECTED), *renames]
    done = subprocess.run(
        [sys.executable, "-c", DIE_AGAIN_AND_AGAIN, str(tmp_path / "killed"), *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    told = [line.split() for line in done.stdout.splitlines()]
    assert told == [["-9", "0"], ["-9", "1"], ["-9", "2"], ["-9", "6"], ["0", "6"]], done.stderr
    assert parquet_bytes(killed) == parquet_bytes(store)
    assert all(problem.harmless for problem in killed.verify())
