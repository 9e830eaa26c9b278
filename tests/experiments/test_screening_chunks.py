"""Chunks of a screening: neither their size nor a kill between them changes what is stored."""

import json
import os
import subprocess
import sys
from pathlib import Path

from deployments.settings import ROOT
from tests.experiments.screened import after_selection, screen, screening_of
from tests.experiments.small import Whole, parquet_bytes


def test_chunks_change_no_row(whole: Whole, tmp_path: Path) -> None:
    plan, context = after_selection(whole, tmp_path, screening={"chunk": 100})
    screening = screening_of(plan)
    assert [len(unit.payload.features) for unit in screening.chunks] == [100, 100, 56] * 2
    screen(plan, context)
    assert plan.store.read("screening").equals(whole.store.read("screening"))
    assert screening.ranked().equals(screening_of(whole.plan).ranked())


# Their vectors come from the bank, so that no process has to load an SAE; three chunks a layer.
SELECTED = {"features": "selected", "chunk": 10}
# One process loads the model and forks; each child goes on with the screening until it dies.
DIE_AGAIN_AND_AGAIN = """
import json, os, signal, sys
from pathlib import Path

import torch
torch.set_num_threads(1)

from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.experiments.runtime.context import open_context
from pitboss.experiments.runtime.study import open_store
from tests.experiments.small import ALIAS, small_study

study = small_study(screening=json.loads(sys.argv[2]))
context = open_context(study, ALIAS, "cpu")

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
        plan = plan_of(study, open_store(study, Path(sys.argv[1])))
        os.rename = dying(os.rename, renames)
        carry_out_all(plan, plan["screening"], ALIAS, lambda _: context)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(status, len(open_store(study, Path(sys.argv[1])).refs("screening")))
"""


def test_killed_anywhere_it_goes_on_to_the_same_bytes(whole: Whole, tmp_path: Path) -> None:
    plan, context = after_selection(whole, tmp_path / "undisturbed", screening=SELECTED)
    store = plan.store
    killed = after_selection(whole, tmp_path / "killed", screening=SELECTED)[0].store
    screen(plan, context)
    assert len(store.refs("screening")) == 6
    # Before the first part is in its place; between a part and its record; later; in the ranking.
    # What each stage is expected to leave is written down before it.
    renames = ["2", "5", "4", "12", "0"]
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
