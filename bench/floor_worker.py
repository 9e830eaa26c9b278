"""One process of `python -m bench.floor`: a lane that takes chunks from a shared folder.

It is told folders on stdin, one JSON object a line, and says what happens on stdout, one a line. It
imports nothing but PyTorch, transformers, and the parts of Pitboss that need no other library.
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from bench.shapes import load_shape
from bench.work import patches_of, prompts_of, rows_of, sampled
from pitboss.engine import Engine, EngineConfig, Generation, Request
from pitboss.engine.memory import base_and_slot, fitting_slots, usable_bytes
from pitboss.floor.locks.claims import Queue, in_turn
from pitboss.floor.memory.guard import Footprint, Thresholds
from pitboss.floor.memory.watcher import Watcher, nvml_headroom
from pitboss.models.loading import LoadedModel

if TYPE_CHECKING:
    from pitboss.store import Store

RESERVE, MARGIN = 4 * 10**9, 10**9
PROMPT_TOKENS = 150
HELD = "held-by-a-tenant"


@dataclass(frozen=True)
class Shared:
    """The folder that lanes share: claims and finished parts."""

    path: Path

    def part(self, key: str) -> Path:
        return self.path / "parts" / f"{key}.jsonl"


@dataclass(frozen=True)
class Chunk:
    """Some features of one layer, each with two values, two prompts and so many trials."""

    number: int
    layer: int
    features: int
    trials: int

    @property
    def key(self) -> str:
        return f"L{self.layer:02d}-{self.number:04d}"

    def ref(self, shared: Any) -> Path | None:
        part: Path = shared.part(self.key)
        return part if part.exists() else None

    def rows(self, loaded: LoadedModel, new_tokens: int) -> list[Request]:
        """Every run of the chunk; the trials of a prompt have the same noise in all arms."""
        prompts, sampling = prompts_of(loaded, 2, PROMPT_TOKENS), sampled(new_tokens)
        patches = patches_of(loaded, self.features, layer=self.layer, values=2, seed=self.number)
        return [
            Request(f"{self.key}/{p}/{i}/{t}", prompt, f"{p}/{t}", sampling, (patch,))
            for p, prompt in enumerate(prompts)
            for i, patch in enumerate(patches)
            for t in range(self.trials)
        ]


def keep(shared: Shared, chunk: Chunk, made: Iterable[Generation]) -> None:
    """Write a chunk's rows in the order of their keys, whole or not at all."""
    path = shared.part(chunk.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        for g in sorted(made, key=lambda g: g.key):
            file.write(json.dumps([g.key, g.finish, g.tokens]) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def say(event: str, **more: object) -> None:
    print(json.dumps({"event": event, "at": time.time(), **more}), flush=True)


class Lane:
    """A model with random weights, its engine, and the guard that watches the device's memory."""

    def __init__(self, shape: str, width: int, new_tokens: int, home: Path) -> None:
        began = time.monotonic()
        self.new_tokens = new_tokens
        self.cuda = torch.cuda.is_available()
        device = torch.device("cuda" if self.cuda else "cpu")
        self.loaded = load_shape(shape, device)
        self.config = EngineConfig(
            width=width, prompt_capacity=PROMPT_TOKENS, token_capacity=new_tokens, prefixes=2
        )
        most = 2 * width if self.cuda else width
        if self.cuda:
            usable = usable_bytes(device, None, RESERVE)
            spec, dtype = self.loaded.spec, self.loaded.dtype
            most = min(most, fitting_slots(spec, self.config, dtype, usable))
        self.footprint = Footprint(
            *base_and_slot(self.loaded.spec, self.config, self.loaded.dtype, most)
        )
        self.fake = home / HELD
        full = self.footprint.bytes(most)
        reserve = RESERVE if self.cuda else full // 10
        self.total = full + 2 * reserve  # of the CPU's pretended memory
        thresholds = Thresholds(
            reserve,
            MARGIN if self.cuda else 0,
            patience_s=0.5,
            hold_s=6.0 if self.cuda else 1.0,
            longest_hold_s=60.0,
        )
        self.uuid = str(torch.cuda.get_device_properties(device).uuid) if self.cuda else "cpu"
        headroom = nvml_headroom(self.uuid) if self.cuda else self._pretended
        self.watcher = Watcher(
            headroom, thresholds, every_s=0.2, say=lambda s: say("guard", said=s)
        )
        self.engine = Engine(
            self.loaded, replace(self.config, slots=most), seed=1, pressure=self.watcher
        )
        self.watcher.about(most, self.footprint)
        self.watcher.start()
        self.engine.run(rows_of(self.loaded, 64, sampled(4), prompt_tokens=PROMPT_TOKENS))
        say(
            "ready",
            seconds=round(time.monotonic() - began, 1),
            uuid=self.uuid,
            slots=most,
            full_gb=full / 1e9,
            step=10**9 if self.cuda else full // 12,
            reserve=reserve,
        )

    def _pretended(self) -> int:
        """Free bytes of a device that a CPU has not: a file says what somebody else holds."""
        held = int(self.fake.read_text()) if self.fake.exists() else 0
        guard = self.watcher.guard
        return self.total - held - (self.footprint.bytes(guard.has) if guard else 0)

    def work(self, shared: Shared, chunks: list[Chunk], lane: int, lanes: int) -> None:
        """Take chunks until all are finished, by whomever."""
        queue = Queue(cast("Store", shared), in_turn(chunks, lane, lanes), run=f"lane {lane}")
        while claim := queue.take():
            began = time.monotonic()
            say("took", key=claim.unit.key)
            with claim:
                rows = claim.unit.rows(self.loaded, self.new_tokens)
                keep(shared, claim.unit, self.engine.run(rows))
            seconds = time.monotonic() - began
            say("kept", key=claim.unit.key, seconds=round(seconds, 3), rows=len(rows))
        say("done")


def main() -> None:
    told = json.loads(sys.argv[1])
    lane = Lane(told["shape"], told["width"], told["new_tokens"], Path(told["home"]))
    blocks = lane.loaded.spec.n_layers
    chunks = [
        Chunk(number, number % blocks, told["features"], told["trials"])
        for number in range(told["chunks"])
    ]
    for line in sys.stdin:
        asked = json.loads(line)
        lane.work(Shared(Path(asked["folder"])), chunks, asked["lane"], asked["lanes"])


if __name__ == "__main__":
    main()
