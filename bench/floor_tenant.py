"""Another program on a GPU, which takes memory in steps and gives it back."""

import os
import subprocess
import sys
from collections.abc import Mapping

from bench.floor_lanes import CPU, ROOT, Failed, Worker, on

STEP = 10**9
PROGRAM = """
import sys, torch
step, held = int(sys.argv[1]), []
torch.empty(1, device="cuda")
print("ready", flush=True)
for line in sys.stdin:
    steps = int(line)
    if steps < 0:
        held.clear()
        torch.cuda.empty_cache()
    for _ in range(max(steps, 0)):
        held.append(torch.empty(step, dtype=torch.uint8, device="cuda").fill_(1))
    torch.cuda.synchronize()
    print("holds", len(held), flush=True)
"""


class Program:
    """A process that holds steps of memory of the first GPU that its environment shows it."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(STEP)],
            cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if self._line() != "ready":
            raise Failed("the tenant did not start")

    def take(self, steps: int) -> None:
        """Take so many steps, or give all back (-1); raises Failed if it runs out of memory."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        if not self._line().startswith("holds"):
            raise Failed("the tenant ran out of memory")

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        self.process.kill()
        self.process.wait()


class Tenant:
    """Such a program on a worker's GPU; on a CPU, a number in a file that the worker reads."""

    def __init__(self, worker: Worker) -> None:
        ready = worker.said("ready")[0]
        self.step, self.reserve = int(ready["step"]), int(ready["reserve"])
        self._file, self._held = worker.home / "held-by-a-tenant", 0
        self._program: Program | None = None
        if worker.device == CPU:
            return
        from pitboss.floor.memory.watcher import nvml_headroom

        self._free = nvml_headroom(ready["uuid"])
        self._program = Program(on(worker.device))

    def first(self) -> int:
        """Steps that leave just the reserve free."""
        return max(0, (self._free() - self.reserve) // self.step) if self._program else 0

    def may_grow(self) -> bool:
        """Whether one step more fits: half of the reserve is always there for it."""
        return self._program is None or self._free() > 2 * self.step

    def take(self, steps: int) -> None:
        """Take so many steps, or give all back (-1); raises Failed if it runs out of memory."""
        if self._program is not None:
            self._program.take(steps)
            return
        self._held = max(0, self._held + steps * self.step) if steps > 0 else 0
        self._file.write_text(str(self._held))

    def leave(self) -> None:
        if self._program is not None:
            self._program.leave()
