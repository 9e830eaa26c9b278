"""Killed writers, racing writers, full disks: real processes, real signals."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from pitboss.store import Store, files
from tests.store.samples import commit, key, parquet_files, store, trials

ROOT = Path(__file__).parents[2]

KILLED_AT_EACH_STEP = """
import os, signal, sys
from pathlib import Path
from pitboss.store import Store
from tests.store.samples import commit, store

def die_before(number):
    left = number
    def wrap(call):
        def step(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return step
    os.fsync, os.rename = wrap(os.fsync), wrap(os.rename)

number, root = 0, Path(sys.argv[1])
while True:
    number += 1
    pid = os.fork()
    if pid == 0:
        here = store(root / f"{number:02d}")
        die_before(number)
        commit(here, 1)
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        print(number - 1)
        break
"""

LOOP = """
import sys
from pathlib import Path
from tests.store.samples import commit, store
here = store(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[2]), 10_000):
    commit(here, number % 10_000, rows=400)
"""

RACE = """
import json, os, sys, time
from pathlib import Path
from pitboss.errors import Mismatch
from tests.store.samples import commit, store
root, me, tokens = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
here = store(root)
(root / me).touch()
while len(list(root.glob("racer*"))) < 2:
    time.sleep(0.001)
refused = 0
for number in range(25):
    try:
        commit(here, number, n_tokens=tokens)
    except Mismatch:
        refused += 1
print(refused)
"""

FULL = """
import resource, sys
from pathlib import Path
from pitboss.errors import PitbossError
from tests.store.samples import commit, store
here = store(Path(sys.argv[1]))
commit(here, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    commit(here, 2, rows=2000)
except PitbossError as error:
    print(error)
"""


def start(script: str, *args: object) -> subprocess.Popen[str]:
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=env)


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


def test_a_kill_before_any_sync_or_rename_leaves_the_part_whole_or_absent(tmp_path: Path) -> None:
    steps = int(finish(start(KILLED_AT_EACH_STEP, tmp_path)))
    assert steps >= 6  # sync, rename, sync of the part and of its record, at the least
    undisturbed = store(tmp_path / "undisturbed")
    commit(undisturbed, 1)
    [expected] = parquet_files(undisturbed)
    survived = 0
    for number in range(1, steps + 1):
        here = Store.open(tmp_path / f"{number:02d}" / "night")
        if here.has("trials", key(1)):
            survived += 1
            assert here.read("trials").to_pylist() == trials(1).to_pylist()
        again = store(tmp_path / f"{number:02d}")
        commit(again, 1)
        assert parquet_files(again)[0].read_bytes() == expected.read_bytes()
        assert again.verify() == []
    assert survived == 1  # only after the record's rename, before the last sync


def test_a_writer_killed_at_random_moments_is_resumed_from_what_it_finished(tmp_path: Path) -> None:
    chance, done = random.Random(5), 0
    for _ in range(4):
        process = start(LOOP, tmp_path, done)
        assert process.stdout and process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.05, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
        here = store(tmp_path)
        assert list((here.path / "tmp").iterdir()) == []
        for ref in here.refs("trials"):
            number = int(ref.key.split("/L")[1].split("-")[0])
            assert here.read("trials", [ref.key]).to_pylist() == trials(number, 400).to_pylist()
        before, done = done, len(here.refs("trials"))
        assert done >= before
    assert done > 0
    commit(here, done, rows=400)  # the one that was being written
    assert here.verify() == []


def test_two_processes_commit_the_same_parts_at_once(tmp_path: Path) -> None:
    racers = [start(RACE, tmp_path, f"racer{i}", 5) for i in range(2)]
    assert [finish(racer) for racer in racers] == ["0\n", "0\n"]
    here = store(tmp_path)
    assert len(here.refs("trials")) == 25 and here.verify() == []


def test_when_two_processes_disagree_each_part_belongs_to_one_and_the_other_is_told(
    tmp_path: Path,
) -> None:
    racers = [start(RACE, tmp_path, f"racer{i}", 5 + i) for i in range(2)]
    refused = [int(finish(racer)) for racer in racers]
    here = store(tmp_path)
    assert sum(refused) == 25 and here.verify() == []
    tokens = here.read("trials").to_pandas().groupby("layer")["n_tokens"].agg(["min", "max"])
    assert (tokens["min"] == tokens["max"]).all()
    assert int((tokens["min"] == 6).sum()) == refused[0]


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    said = finish(start(FULL, tmp_path))
    assert "The disk took no more bytes" in said and "Free disk space" in said
    here = store(tmp_path)
    assert [ref.key for ref in here.refs("trials")] == [key(1)]
    assert here.verify() == []


def test_cleaning_spares_files_that_a_living_process_writes(tmp_path: Path) -> None:
    here = store(tmp_path)
    (here.path / "tmp" / "0123456789abcdef.tmp").write_bytes(b"left by a dead process")
    with files.temporary(here.path / "tmp") as (mine, file):
        file.write(b"mine")
        store(tmp_path)
        assert list((here.path / "tmp").iterdir()) == [mine]
        files.publish(mine, file, here.path / "note.txt")
    assert (here.path / "note.txt").read_bytes() == b"mine"
    assert json.loads((here.path / "manifest.json").read_text())["name"] == "night"
