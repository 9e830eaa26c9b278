"""`python -m tests.faults.harness`: a study killed, starved and damaged at random, again and again.

Each round does the small patching study of killed.yaml in a folder of its own. Children that do
the work are hit at random moments, the folder is damaged between them, and at last a child may
finish. What is then in the folder must be, byte for byte, what an undisturbed run leaves. All
randomness comes from the seed and the round's number, so a failed round can be done again alone;
only the moments of kills also depend on how fast the machine is.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from pitboss.experiments.registry import load_study, plan_of
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.experiments.runtime.context import open_context
from pitboss.experiments.runtime.study import open_store
from pitboss.store import Store
from tests.faults.patched import STUDY, prepare, trial_files

ROUNDS = 50
FAULTS = 4  # children that are hit, of every round
PREPARED = "prepared"
KILLED = -signal.SIGKILL


class Harness:
    """One loaded model; every child is forked from it and does the study until it is hit.

    Args:
        folder: Where the rounds work; the study's folder lies in its `prepared` (see `prepare`).
    """

    def __init__(self, folder: Path, faults: int = FAULTS) -> None:
        self.faults = faults
        torch.set_num_threads(1)
        self.folder = folder
        self.study = load_study(STUDY)
        self.context = open_context(self.study, "llama", "cpu")
        began = time.monotonic()
        self.expected = self._undisturbed()
        self.seconds = time.monotonic() - began
        self.done: Counter[str] = Counter()

    def round(self, seed: str) -> None:
        """
        Raises:
            AssertionError: Something was lost, was there twice, or has other bytes.
        """
        draw = random.Random(seed)
        results = self.folder / seed
        shutil.copytree(self.folder / PREPARED, results)
        for _ in range(self.faults):
            fault = draw.choice([self.kill, self.kill, self.kill_two, self.fill_up])
            fault(results, draw)
            self.done[fault.__name__] += 1
            damage = draw.choice([truncate, flip, lose_record, cut_record, litter, leave_alone])
            self.done[damage.__name__] += damage(open_store(self.study, results), draw)
        status = self._wait(self._child(results))
        assert status == 0, f"the last run ended with {status}"
        found = self.state_of(results)
        assert found.keys() == self.expected.keys(), sorted(found.keys() ^ self.expected.keys())
        assert found == self.expected, [
            name for name in found if found[name] != self.expected[name]
        ]
        shutil.rmtree(results)

    def kill(self, results: Path, draw: random.Random) -> None:
        """SIGKILL at any moment of the time that the whole study takes."""
        child = self._child(results)
        time.sleep(draw.uniform(0, self.seconds))
        os.kill(child, signal.SIGKILL)
        assert self._wait(child) in (KILLED, 0)

    def kill_two(self, results: Path, draw: random.Random) -> None:
        """Two at the same work at once, which is never meant, and both killed."""
        children = [self._child(results), self._child(results)]
        for child in children:
            time.sleep(draw.uniform(0, self.seconds / 2))
            os.kill(child, signal.SIGKILL)
        assert {self._wait(child) for child in children} <= {KILLED, 0}

    def fill_up(self, results: Path, draw: random.Random) -> None:
        """No file may grow beyond so many bytes: every write past them fails, as on a full disk."""
        largest = max(len(data) for data in self.expected.values())
        room = draw.randrange(1, largest)
        self._wait(
            self._child(
                results, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)), True
            )
        )

    def state_of(self, results: Path) -> dict[str, bytes]:
        """Every chunk, and the tables that are made of all of them."""
        store = open_store(self.study, results)
        bad = [p for p in store.verify() if not p.harmless]
        assert not bad, bad
        tables = ("trials", "effects", "findings")
        combined = {t: store.combine(t, None, t).read_bytes() for t in tables}
        return trial_files(store) | {f"{t}.parquet": data for t, data in combined.items()}

    def _undisturbed(self) -> dict[str, bytes]:
        results = self.folder / "undisturbed"
        shutil.copytree(self.folder / PREPARED, results)
        assert self._wait(self._child(results)) == 0
        return self.state_of(results)

    def _child(
        self, results: Path, starve: Callable[[], None] | None = None, quiet: bool = False
    ) -> int:
        """Fork a process that goes on with the study; it ends with 0 when all is done."""
        if pid := os.fork():
            return pid
        try:
            if quiet:  # it is meant to fail, its traceback would only alarm
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
            if starve:
                starve()
            plan = plan_of(self.study, open_store(self.study, results))
            carry_out_all(plan, plan["patching"], "llama", lambda alias: self.context)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(1)

    @staticmethod
    def _wait(child: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _one_of(store: Store, folder: str, pattern: str, draw: random.Random) -> Path | None:
    found = sorted((store.path / folder / "trials").rglob(pattern))
    return draw.choice(found) if found else None


def truncate(store: Store, draw: random.Random) -> bool:
    """Cut a part off anywhere. Whether there was one is returned, here and below."""
    if path := _one_of(store, "parts", "*.parquet", draw):
        _rewrite(path, path.read_bytes()[: draw.randrange(path.stat().st_size)])
    return path is not None


def flip(store: Store, draw: random.Random) -> bool:
    """Change one bit of a part."""
    if path := _one_of(store, "parts", "*.parquet", draw):
        data = bytearray(path.read_bytes())
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        _rewrite(path, bytes(data))
    return path is not None


def lose_record(store: Store, draw: random.Random) -> bool:
    if path := _one_of(store, "records", "*.json", draw):
        path.unlink()
    return path is not None


def cut_record(store: Store, draw: random.Random) -> bool:
    if path := _one_of(store, "records", "*.json", draw):
        _rewrite(path, path.read_bytes()[: draw.randrange(path.stat().st_size)])
    return path is not None


def litter(store: Store, draw: random.Random) -> bool:
    """What a process that died while writing may leave."""
    if path := _one_of(store, "parts", "*.parquet", draw):
        path.with_name(f".{path.name}.{draw.randrange(99999)}.tmp").write_bytes(b"half a part")
    return path is not None


def leave_alone(store: Store, draw: random.Random) -> bool:
    return True


def _rewrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def run(folder: Path, rounds: int, seed: int, faults: int = FAULTS) -> tuple[int, Counter[str]]:
    """Returns how many rounds ended with the same bytes, and how often each fault was done."""
    harness = Harness(folder, faults)
    same = 0
    for number in range(rounds):
        began = time.monotonic()
        try:
            harness.round(f"{seed}-{number}")
            same += 1
            verdict = "same bytes"
        except AssertionError as error:
            verdict = f"DIFFERENT: {error}"
        seconds = time.monotonic() - began
        print(f"round {number + 1}/{rounds} {verdict}, {seconds:.1f} s", flush=True)
    return same, harness.done


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill, starve and damage a study at random.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder) / PREPARED)
        same, done = run(Path(folder), asked.rounds, asked.seed)
    print(", ".join(f"{name} {count}" for name, count in sorted(done.items())))
    print(f"{same} of {asked.rounds} rounds ended with the bytes of an undisturbed run.")
    return 0 if same == asked.rounds else 1


if __name__ == "__main__":
    sys.exit(main())
