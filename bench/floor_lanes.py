"""The lanes of `python -m bench.floor`: processes of their own, and the folders they work in."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.clock import rounded

ROOT = Path(__file__).resolve().parents[1]
CPU = "cpu"
PATIENCE = 300.0

_began = time.monotonic()


def elapsed() -> float:
    """Seconds since this program began."""
    return time.monotonic() - _began


def show(text: str) -> None:
    print(f"[{elapsed():6.1f} s] {text}", flush=True)


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
