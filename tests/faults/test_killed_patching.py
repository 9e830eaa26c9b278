"""Patching killed with SIGKILL, again and again, in processes of its own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.sorting import FlowRunSort

from deployments.settings import ROOT
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.experiments.runtime.context import open_context
from pitboss.floor.locks.claims import FOLDER
from pitboss.floor.locks.kernel_lock import KernelLock
from pitboss.store import Store
from tests.conftest import Server
from tests.faults.patched import STUDY, finished, prepare, trial_files

# One process loads the model and forks; each child goes on with the study until it dies.
DIE_AGAIN_AND_AGAIN = """
import json, os, signal, sys
from pathlib import Path

import torch
torch.set_num_threads(1)

from pitboss.engine.runner import Runner
from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.registry import load_study, plan_of
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.experiments.runtime.context import open_context
from pitboss.experiments.runtime.study import open_store

study, results = load_study(Path(sys.argv[1])), Path(sys.argv[2])
context = open_context(study, "llama", "cpu")

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
        Runner.launch = before(Runner.launch, number)
    elif what == "rename":  # between the part's bytes, the part and its record
        os.rename = before(os.rename, number)
    elif what == "chunk":  # between two chunks
        Patching.run = before(Patching.run, number)

for what, number in [*json.loads(sys.argv[3]), (None, 0)]:
    if (pid := os.fork()) == 0:
        arm(what, number)
        plan = plan_of(study, open_store(study, results))
        carry_out_all(plan, plan["patching"], "llama", lambda alias: context)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps([what, status]), flush=True)
    input()
"""
KILLS = [
    ("step", 20),  # in the baseline or the first chunk
    ("rename", 2),  # its part is written, not yet in its place (first: what is expected)
    ("rename", 3),  # its part is in place, without a record
    ("chunk", 3),  # two chunks are done, nothing of the third
    ("step", 45),  # in a later chunk
    ("rename", 5),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same study in another folder, done in one go, and in this process."""
    plan = prepare(tmp_path_factory.mktemp("undisturbed"))
    context = open_context(plan.study, "llama", "cpu")
    carry_out_all(plan, plan["patching"], "llama", lambda alias: context)
    return plan.store


def start(results: Path, kills: list[tuple[str, int]]) -> subprocess.Popen[str]:
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


FLOW = (
    "from flows.experiments import patching; "
    "patching('tests/faults/killed.yaml', shard={}, shards={})"
)


def start_flow(
    server: Server, folder: Path, shard: int = 0, shards: int = 1
) -> subprocess.Popen[bytes]:
    """The flow as a worker runs it: a process of its own that talks to the server."""
    env = server.env | {
        "PITBOSS_RESULTS": str(folder),
        "PREFECT_LOCAL_STORAGE_PATH": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    log = (folder / "flow.log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-c", FLOW.format(shard, shards)],
        env=env,
        cwd=ROOT,
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def tasks_of_last_run() -> dict[str, str]:
    """Name and end of every task of the patching run that started last."""
    with get_client(sync_client=True) as client:
        [run] = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["patching"])),
            sort=FlowRunSort.START_TIME_DESC,
            limit=1,
        )
        tasks = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        )
    return {task.name: task.state_name or "" for task in tasks}


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_chunks_that_are_finished_survive_every_kill_and_the_end_is_the_same(
    undisturbed: Store, tmp_path: Path
) -> None:
    store = prepare(tmp_path).store
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
    assert combined(store) == combined(undisturbed)


def combined(store: Store) -> bytes:
    return store.combine("trials", None, "trials").read_bytes()


def test_a_flow_run_killed_once_goes_on_where_it_was(
    undisturbed: Store, prefect_api: Server, tmp_path: Path
) -> None:
    store = prepare(tmp_path).store
    first = start_flow(prefect_api, tmp_path)
    deadline = time.monotonic() + 300
    while len(list((store.path / "records" / "trials").rglob("*.json"))) < 2:
        assert first.poll() is None and time.monotonic() < deadline, log_of(tmp_path)
        time.sleep(0.01)
    first.kill()
    assert first.wait() == -9
    before = finished(store)
    assert 2 <= len(before) < 5
    assert start_flow(prefect_api, tmp_path).wait(timeout=300) == 0, log_of(tmp_path)
    end = finished(store)
    assert len(end) == 5
    assert {key: end[key] for key in before} == before
    assert trial_files(store) == trial_files(undisturbed)
    assert combined(store) == combined(undisturbed)
    chunks = {n: end for n, end in tasks_of_last_run().items() if n.startswith("patch ")}
    assert len(chunks) == 5 and set(chunks.values()) <= {"Completed", "Cached"}
    assert "Cached" in chunks.values() and "Completed" in chunks.values()


def claimed_by(store: Store, pid: int) -> bool:
    """Whether a process is at work on a chunk other than the baseline."""
    held = [KernelLock(path).holder() for path in (store.path / FOLDER).rglob("L0*.lock")]
    return pid in [holder.pid for holder in held if holder]


def test_two_workers_share_the_chunks_and_one_takes_over_what_the_other_leaves_when_killed(
    undisturbed: Store, prefect_api: Server, tmp_path: Path
) -> None:
    store = prepare(tmp_path).store
    first, second = (start_flow(prefect_api, tmp_path, shard, 2) for shard in range(2))
    deadline = time.monotonic() + 300
    while not (claimed_by(store, first.pid) or claimed_by(store, second.pid)):
        assert time.monotonic() < deadline, log_of(tmp_path)
        time.sleep(0.005)
    victim, other = (first, second) if claimed_by(store, first.pid) else (second, first)
    victim.kill()
    assert victim.wait() == -9
    assert other.wait(timeout=300) == 0, log_of(tmp_path)
    assert len(finished(store)) == 5
    assert trial_files(store) == trial_files(undisturbed)
    assert combined(store) == combined(undisturbed)


def log_of(folder: Path) -> str:
    return (folder / "flow.log").read_text(errors="replace")[-3000:]
