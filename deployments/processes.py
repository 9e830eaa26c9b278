"""Starting processes that outlive us, and finding exactly those again.

`make up` puts a random token into the environment of what it starts. Workers hand their environment
to flow runs, so every process that descends from one `make up` carries its token, even after its
parent died, and no other process does. A process number alone would not do: numbers are used again.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict

TOKEN = "PITBOSS_UP"
# Set by Prefect in the environment of a flow run's process.
FLOW_RUN = "PREFECT__FLOW_RUN_ID"
GONE = (psutil.NoSuchProcess, psutil.AccessDenied, OSError)

Role = Literal["server", "worker", "reconciler", "database", "messages"]

# Prefect turns SIGTERM into SIGINT, and a shell that starts something in the background leaves
# SIGINT ignored: together they make a worker that nothing but SIGKILL stops. So SIGINT is
# restored first.
EXEC_WITH_SIGINT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvpe(sys.argv[1], sys.argv[1:], os.environ)
"""


class Started(BaseModel):
    """One process that `make up` started."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    name: str
    pid: int
    log: Path

    def process(self, token: str) -> psutil.Process | None:
        """The process, or None when it has ended or its number now belongs to another."""
        try:
            process = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return None
        return process if carries(process, token) else None

    def listens(self, token: str, port: int) -> bool:
        """Whether this process, and not another program's, answers at the port."""
        try:
            process = self.process(token)
            found = process.net_connections("tcp") if process else []
        except GONE:
            return False
        return any(at.status == psutil.CONN_LISTEN and at.laddr.port == port for at in found)


def start(
    role: Role, name: str, command: Sequence[str], *, env: dict[str, str], cwd: Path, log: Path
) -> Started:
    """Start a command in a session of its own, its output appended to a log file."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", EXEC_WITH_SIGINT, *command],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    return Started(role=role, name=name, pid=process.pid, log=log)


def carries(process: psutil.Process, token: str) -> bool:
    """Whether the process lives and was started with this token in its environment."""
    try:
        return process.environ().get(TOKEN) == token and process.status() != psutil.STATUS_ZOMBIE
    except GONE:
        return False  # ended meanwhile, or another user's: in neither case ours


def all_carrying(token: str) -> list[psutil.Process]:
    """Every live process with the token, except the one that asks."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and carries(process, token)
    ]


def is_flow_run(process: psutil.Process) -> bool:
    try:
        return FLOW_RUN in process.environ()
    except GONE:
        return False


def stop(processes: Iterable[psutil.Process], first: signal.Signals, patience: float) -> int:
    """Send a signal, wait, and kill what is still there after `patience` seconds.

    Returns:
        How many had to be killed.
    """
    alive = [process for process in processes if _signal(process, first)]
    _, alive = psutil.wait_procs(alive, timeout=patience)
    stubborn = [process for process in alive if _signal(process, signal.SIGKILL)]
    psutil.wait_procs(stubborn, timeout=10)
    return len(stubborn)


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log file, for an error message."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def wait_until(ready: Callable[[], bool], *, seconds: float, every: float = 0.2) -> bool:
    """Ask `ready` again and again until it says yes or the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(every)
    return False
