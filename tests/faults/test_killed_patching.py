"""Patching killed with SIGKILL, again and again, in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.settings import ROOT
from pitboss.store import Store
from tests.faults.patched import finished, prepare, trial_files

# One process loads the model and forks; each child goes on with the study until it dies.
DIE_AGAIN_AND_AGAIN = """
import json, os, signal, sys
from pathlib import Path

import torch
torch.set_num_threads(1)

from pitboss.engine.runner import Runner
from pitboss.experiments import patching
from pitboss.experiments.lane import open_lane
from pitboss.experiments.study import open_store
from pitboss.studies.loading import load_study

study, results = load_study(Path(sys.argv[1])), Path(sys.argv[2])
lane = open_lane(study, "llama", "cpu")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def before(call, number):
    left = number
    def counted(*args, **kwargs):
        nonlocal left
        left -= 1
        if left == 0:
            die()
        return call(*args, **kwargs)
    return counted

def arm(what, number):
    if what == "step":  # in the middle of generating
        Runner.step = before(Runner.step, number)
    elif what == "rename":  # between the part's bytes, the part and its record
        os.rename = before(os.rename, number)
    elif what == "chunk":  # between two chunks
        patching.run = before(patching.run, number)

for what, number in [*json.loads(sys.argv[3]), (None, 0)]:
    if (pid := os.fork()) == 0:
        arm(what, number)
        store = open_store(study, results)
        for unit in patching.all_units(study, store):
            patching.run(lane, store, unit)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps([what, status]), flush=True)
    input()
"""
KILLS = [
    ("step", 20),  # in the baseline or the first chunk
    ("rename", 1),  # its part is written, not yet in its place
    ("rename", 2),  # its part is in place, without a record
    ("chunk", 3),  # two chunks are done, nothing of the third
    ("step", 45),  # in a later chunk
    ("rename", 4),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same study in another folder, done in one go."""
    results = tmp_path_factory.mktemp("undisturbed")
    _, store = prepare(results)
    with start(results, []) as process:
        assert told(process) == [None, 0]
    return store


def start(results: Path, kills: list[tuple[str, int]]) -> subprocess.Popen[str]:
    from tests.faults.patched import STUDY

    arguments = [str(STUDY), str(results), json.dumps(kills)]
    return subprocess.Popen(
        [sys.executable, "-c", DIE_AGAIN_AND_AGAIN, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def told(process: subprocess.Popen[str]) -> list[object]:
    """What became of the next child; the process then starts another one."""
    assert process.stdout is not None and process.stdin is not None
    line = process.stdout.readline()
    assert line, "the process ended early"
    answer: list[object] = json.loads(line)
    return answer


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_chunks_that_are_finished_survive_every_kill_and_the_end_is_the_same(
    undisturbed: Store, tmp_path: Path
) -> None:
    _, store = prepare(tmp_path)
    seen: list[int] = []
    with start(tmp_path, KILLS) as process:
        before = finished(store)
        for what, _ in KILLS:
            assert told(process) == [what, -9]
            after = finished(store)
            assert {key: after[key] for key in before} == before
            assert all(problem.harmless for problem in store.verify())
            before = after
            seen.append(len(after))
            go_on(process)
        assert told(process) == [None, 0]
    end = finished(store)
    assert {key: end[key] for key in before} == before
    assert seen == sorted(seen)
    assert 0 < seen[-2] < seen[-1] < len(end) == 5  # the last kills fell between finished chunks
    assert trial_files(store) == trial_files(undisturbed)
    assert not [problem for problem in store.verify() if "temporary" not in problem.what]
    for name in ("combined",):
        paths = [each.combine("trials", None, name) for each in (store, undisturbed)]
        assert paths[0].read_bytes() == paths[1].read_bytes()
