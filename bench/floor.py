"""`python -m bench.floor`: several GPUs of one machine sharing chunks, for real.

Lanes in processes of their own, one a GPU, patch random weights in chunks that they take by claims
from a folder. It is shown, each time against the files of one lane alone: how much faster several
are; that a lane gives way to a growing tenant and comes back; that a lane killed in the middle of a
chunk loses nothing. Needs PyTorch, transformers, nvidia-ml-py and psutil, nothing else of ours, no
network. On a CPU (`--devices cpu cpu`) memory and tenant are pretended.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.clock import rounded

ROOT = Path(__file__).resolve().parents[1]
CPU = "cpu"
PATIENCE = 300.0
TENANT = """
import sys, torch
held = []
torch.empty(1, device="cuda")
print("ready", flush=True)
for line in sys.stdin:
    steps = int(line)
    if steps < 0:
        held.clear()
        torch.cuda.empty_cache()
    for _ in range(max(steps, 0)):
        held.append(torch.empty(10**9, dtype=torch.uint8, device="cuda").fill_(1))
    torch.cuda.synchronize()
    print("holds", len(held), flush=True)
"""

_began = time.monotonic()


def show(text: str) -> None:
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", flush=True)


class Failed(Exception):
    """Something that had to happen did not."""


def on(device: str) -> dict[str, str]:
    """The environment of a process that sees this device only."""
    visible = "" if device == CPU else device
    return os.environ | {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": visible,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "TOKENIZERS_PARALLELISM": "false",
    }


class Worker:
    """A lane's process, what it was told and what it said."""

    def __init__(self, number: int, device: str, told: dict[str, Any], home: Path) -> None:
        self.number, self.device, self.home = number, device, home / f"lane-{number}"
        self.home.mkdir(exist_ok=True)
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        told = told | {"home": str(self.home)}
        with open(self.home / "stderr.log", "a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.floor_worker", json.dumps(told)],
                cwd=ROOT, env=on(device), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True,
            )  # fmt: skip
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue  # a library's own word
            event = json.loads(line)
            if event["event"] == "guard":
                show(f"lane {self.number}: {event['said']}")
            with self._news:
                self.events.append(event)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def tell(self, folder: Path, lanes: int) -> int:
        """Begin to work in a folder; returns how much it had said before."""
        before = len(self.events)
        assert self.process.stdin is not None
        asked = {"folder": str(folder), "lane": self.number, "lanes": lanes}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return before

    def said(self, event: str, since: int = 0, words: str = "") -> list[dict[str, Any]]:
        return [
            e
            for e in self.events[since:]
            if e["event"] == event and words in str(e.get("said", words))
        ]

    def wait(
        self, event: str, since: int = 0, words: str = "", patience: float = PATIENCE
    ) -> dict[str, Any]:
        """The first such event; raises Failed if the process ends or takes too long."""
        end = time.monotonic() + patience
        with self._news:
            while not (found := self.said(event, since, words)):
                if self.process.poll() is not None or time.monotonic() > end:
                    log = (self.home / "stderr.log").read_text(errors="replace")[-2000:]
                    raise Failed(f"lane {self.number} did not say {event} {words}:\n{log}")
                self._news.wait(0.2)
        return found[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Tenant:
    """Another program on a worker's device, which takes memory in steps and gives it back."""

    def __init__(self, worker: Worker) -> None:
        self.step = int(worker.said("ready")[0]["step"])
        self.reserve = int(worker.said("ready")[0]["reserve"])
        self._process: subprocess.Popen[str] | None = None
        self._file, self._held = worker.home / "held-by-a-tenant", 0
        if worker.device == CPU:
            return
        from pitboss.floor.watcher import nvml_headroom

        self._free = nvml_headroom(worker.said("ready")[0]["uuid"])
        self._process = subprocess.Popen(
            [sys.executable, "-c", TENANT],
            cwd=ROOT, env=on(worker.device), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        if self._line() != "ready":
            raise Failed("the tenant did not start")

    def first(self) -> int:
        """Steps that leave just the reserve free."""
        return max(0, (self._free() - self.reserve) // self.step) if self._process else 0

    def may_grow(self) -> bool:
        """Whether one step more fits: half of the reserve is always there for it."""
        return self._process is None or self._free() > 2 * self.step

    def take(self, steps: int) -> None:
        """Take so many steps, or give all back (-1); raises Failed if it runs out of memory."""
        if self._process is None:
            self._held = max(0, self._held + steps * self.step) if steps > 0 else 0
            self._file.write_text(str(self._held))
            return
        assert self._process.stdin is not None
        print(steps, file=self._process.stdin, flush=True)
        if not self._line().startswith("holds"):
            raise Failed("the tenant ran out of memory")

    def _line(self) -> str:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def leave(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Floor:
    """The lanes of this machine and the folders they work in."""

    def __init__(self, devices: Sequence[str], told: dict[str, Any], home: Path) -> None:
        self.told, self.home = told, home
        self.workers = [Worker(n, device, told, home) for n, device in enumerate(devices)]
        self.alone: dict[str, str] = {}

    def start(self) -> list[dict[str, Any]]:
        ready = [worker.wait("ready", patience=300) for worker in self.workers]
        for worker, said in zip(self.workers, ready, strict=True):
            show(
                f"lane {worker.number} on {worker.device} ready after {said['seconds']} s: "
                f"{said['slots']} rows in flight, {said['full_gb']:.1f} GB with them"
            )
        return ready

    def work(self, name: str, workers: Sequence[Worker]) -> dict[str, Any]:
        """Have all chunks done in a folder of this name; returns the time it took, and by whom."""
        folder = self.home / name
        began = time.time()
        since = [worker.tell(folder, len(workers)) for worker in workers]
        for worker, before in zip(workers, since, strict=True):
            worker.wait("done", before)
        kept = [w.said("kept", before) for w, before in zip(workers, since, strict=True)]
        last = max(event["at"] for events in kept for event in events)
        return {
            "seconds": rounded(last - began),
            "chunks_by_lane": [len(events) for events in kept],
            "chunk_seconds": [rounded(e["seconds"]) for events in kept for e in events],
            "rows": sum(e["rows"] for events in kept for e in events),
        }

    def files(self, name: str) -> dict[str, str]:
        """SHA-256 of every finished part."""
        parts = sorted((self.home / name / "parts").glob("*.jsonl"))
        return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts}

    def compare(self, name: str) -> bool:
        """Whether a folder's files are those of one lane alone."""
        same = len(self.alone) == self.told["chunks"] and self.files(name) == self.alone
        show(f"{name}: {len(self.files(name))} files, {'the same' if same else 'NOT the same'}")
        return same


def scaling(floor: Floor) -> dict[str, Any]:
    """The same chunks with one lane, then with all."""
    show(f"one lane: {floor.told['chunks']} chunks")
    one = floor.work("one", floor.workers[:1])
    floor.alone = floor.files("one")
    show(f"one lane took {one['seconds']} s")
    every = floor.work("all", floor.workers)
    times = rounded(one["seconds"] / every["seconds"])
    show(f"{len(floor.workers)} lanes took {every['seconds']} s: {times} times as fast")
    return {"one": one, "all": every, "times_as_fast": times, "same": floor.compare("all")}


def tenant(floor: Floor) -> dict[str, Any]:
    """Somebody grows on the last lane's device until the model is parked, then leaves."""
    worker, began, passes, same = floor.workers[-1], time.time(), 0, True
    visitor, steps = Tenant(worker), 0
    first = since = len(worker.events)

    def at_work() -> int:
        """Keep the lane at work; returns since when it is in this folder."""
        nonlocal passes, same, since
        if passes and not worker.said("done", since):
            return since
        if passes:
            same &= floor.compare(f"tenant-{passes}")
        passes += 1
        since = worker.tell(floor.home / f"tenant-{passes}", 1)
        return since

    try:
        worker.wait("took", at_work())
        time.sleep(1)
        steps = visitor.first()
        show(f"a tenant comes and takes {steps} steps, then one a second")
        visitor.take(steps)
        end = time.monotonic() + PATIENCE
        while not worker.said("guard", first, " park "):
            if time.monotonic() > end:
                raise Failed("the lane did not leave its device")
            if visitor.may_grow():
                visitor.take(1)
                steps += 1
            at_work()
            time.sleep(0.5)
        time.sleep(3)
        show(f"the tenant gives its {steps} steps back")
        visitor.take(-1)
        worker.wait("guard", first, " return ")
        worker.wait("done", since)
    finally:
        visitor.leave()
    same &= floor.compare(f"tenant-{passes}")
    guard = [
        {"after_s": rounded(event["at"] - began), "said": event["said"]}
        for event in worker.said("guard", first)
    ]
    return {"steps": steps, "step_gb": visitor.step / 1e9, "guard": guard, "passes": passes,
            "tenant_met_no_error": True, "same": same}  # fmt: skip


def killed(floor: Floor) -> dict[str, Any]:
    """The last lane is killed in the middle of a chunk; another takes the chunk over."""
    name, last = "killed", floor.workers[-1]
    if len(floor.workers) == 1:
        raise Failed("one device only: nobody else could take the chunk over")
    lanes = floor.workers
    since = [worker.tell(floor.home / name, len(lanes)) for worker in lanes]
    last.wait("took", since[-1])  # at once: a small chunk takes less than a second
    key = last.said("took", since[-1])[-1]["key"]
    last.kill()
    at = time.time()
    show(f"lane {last.number} killed with chunk {key}")
    for worker, before in zip(lanes[:-1], since[:-1], strict=True):
        worker.wait("done", before)
    taken = [
        (event["at"] - at, worker.number)
        for worker, before in zip(lanes[:-1], since[:-1], strict=True)
        for event in worker.said("took", before)
        if event["key"] == key
    ]
    if not taken:
        raise Failed(f"nobody took {key} over")
    show(f"lane {taken[0][1]} took {key} over {taken[0][0]:.1f} s later")
    return {"chunk": key, "taken_over_after_s": rounded(taken[0][0]), "by_lane": taken[0][1],
            "same": floor.compare(name)}  # fmt: skip


def look(devices: Sequence[str]) -> dict[str, Any] | None:
    """Survey the GPUs by NVML and show who uses them; nothing where all is pretended."""
    if set(devices) == {CPU}:
        return None
    from dataclasses import asdict

    from pitboss.floor.survey import survey
    from pitboss.floor.tables import survey_table

    found = survey()
    print(survey_table(found), flush=True)
    return asdict(found)


def visible() -> list[str]:
    """Every GPU that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return named.split(",")
    import pynvml

    pynvml.nvmlInit()
    try:
        return [str(n) for n in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench.floor", description=__doc__)
    add = made.add_argument
    add("--devices", nargs="+", help="GPUs by their numbers, or cpu (default: every GPU)")
    add("--shape", default="llama-8b", help="model of bench/shapes.py")
    add("--chunks", type=int, help="(default: 12, or 4 for each device where these are more)")
    add("--features", type=int, default=16, help="of a chunk; each has 80 rows")
    add("--trials", type=int, default=20)
    add("--width", type=int, default=512, help="rows of a matrix product")
    add("--new-tokens", type=int, default=100)
    add("--out", type=Path, default=Path("floor.json"))
    add("--commit", help="what to record where the tree was copied without its repository")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    devices = asked.devices or visible()
    names = ("shape", "chunks", "features", "trials", "width", "new_tokens")
    told = {name: getattr(asked, name) for name in names}
    told["chunks"] = asked.chunks or max(12, 4 * len(devices))
    found: dict[str, Any] = {"told": told, "devices": list(devices), "survey": look(devices)}
    steps: dict[str, Callable[[Floor], dict[str, Any]]] = {
        "scaling": scaling, "tenant": tenant, "killed": killed,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        floor = Floor(devices, told, Path(home))
        try:
            found["ready"] = floor.start()
            for name, step in steps.items():
                found[name] = step(floor)
        except Failed as error:
            show(f"FAILED: {error}")
            found["error"] = str(error)
        finally:
            for worker in floor.workers:
                worker.kill()
    from bench.machine import commit, versions

    found |= {"versions": versions(), "commit": asked.commit or commit()}
    found["seconds"] = rounded(time.monotonic() - _began)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    whole = "error" not in found and all(found[name]["same"] for name in steps)
    show(f"{'everything as it should be' if whole else 'NOT as it should be'}; {asked.out}")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
