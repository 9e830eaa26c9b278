"""A survey of all GPUs, taken with NVML: who uses how much of each.

Of other people's processes only what the kernel shows everybody is recorded, and of a command line
only the program: arguments can hold secrets, and surveys are stored and shown.
"""

import os
import socket
from collections.abc import Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import NVML, Gpu, Survey, Tenant

# What `make up` puts into the environment of all it starts (deployments/processes.py).
OUR_VARIABLE = "PITBOSS_UP"


def survey(our_pids: Iterable[int] = (), token: str | None = None) -> Survey:
    """Ask the driver who uses what now.

    Args:
        our_pids: Processes known to be ours.
        token: Only processes that `make up` started with this token are ours; any token if None.

    Raises:
        BadInput: There is no driver, or it does not answer.
    """
    import pynvml as nvml

    ours = frozenset(our_pids)
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    with _driver(nvml):
        try:
            count = nvml.nvmlDeviceGetCount()
            gpus = tuple(_gpu(nvml, index, ours, token) for index in range(count))
        except nvml.NVMLError as error:
            raise BadInput(
                f"The NVIDIA driver did not answer: {error}", next="Check `nvidia-smi`."
            ) from error
    return Survey(socket.gethostname(), taken, NVML, gpus)


@contextmanager
def _driver(nvml: Any) -> Any:
    """NVML, open for the time of a survey."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise BadInput(
            f"No NVIDIA driver answers on this machine: {error}",
            next="Survey on the machine with the GPUs, or read a survey file with --floor.",
        ) from error
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, index: int, ours: frozenset[int], token: str | None) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    utilisation = _maybe(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    held = _processes(nvml, handle)
    return Gpu(
        index=index,
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total=int(memory.total),
        used=int(memory.used),
        utilisation=None if utilisation is None else int(utilisation.gpu),
        temperature=_maybe(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        tenants=tuple(_listed(pid, size, ours, token) for pid, size in sorted(held.items())),
    )


def _processes(nvml: Any, handle: Any) -> dict[int, int | None]:
    """Bytes by process; one that both computes and draws is listed twice by the driver."""
    held: dict[int, int | None] = {}
    for ask in (
        nvml.nvmlDeviceGetComputeRunningProcesses,
        nvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        for process in _maybe(nvml, ask, handle) or []:
            sizes = (held.get(process.pid), process.usedGpuMemory)
            known = [size for size in sizes if size is not None]
            held[process.pid] = max(known) if known else None
    return held


def _maybe(nvml: Any, ask: Any, *arguments: Any) -> Any:
    """The driver's answer, or None where this GPU or this container does not give one."""
    try:
        return ask(*arguments)
    except (nvml.NVMLError_NotSupported, nvml.NVMLError_NoPermission):
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _listed(pid: int, memory: int | None, ours: frozenset[int], token: str | None) -> Tenant:
    """The process that the driver calls by this number.

    In a container the driver may give the host's numbers. One that happens to be the number of a
    process of ours would make a stranger ours, so a process that has no GPU open is not the one.
    """
    if _has_gpu_open(pid) is False:
        return Tenant(pid, None, None, memory, pid in ours)
    return _tenant(pid, memory, ours, token)


def _has_gpu_open(pid: int) -> bool | None:
    """Whether a process holds a GPU's device file; None where the kernel does not say."""
    try:
        names = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:  # another user's, or ended meanwhile
        return None
    return any(name.startswith(("/dev/nvidia", "/dev/dxg")) for name in names)


def _tenant(pid: int, memory: int | None, ours: frozenset[int], token: str | None) -> Tenant:
    """A process with what the kernel tells us of it."""
    import psutil

    try:
        process = psutil.Process(pid)
        user: str | None = process.username()
        command = short_command(process.cmdline())
    except psutil.AccessDenied:
        return Tenant(pid, _owner(pid), None, memory, pid in ours)
    except psutil.NoSuchProcess:  # ended meanwhile, or its number belongs to the host's namespace
        return Tenant(pid, None, None, memory, pid in ours)
    return Tenant(pid, user, command, memory, pid in ours or _is_ours(process, token))


def _owner(pid: int) -> str | None:
    """The user of a process whose command line is hidden."""
    import psutil

    try:
        return psutil.Process(pid).username()
    except psutil.Error:
        return None


def _is_ours(process: Any, token: str | None) -> bool:
    """Whether the process or one it descends from carries our token in its environment."""
    import psutil

    try:
        line = [process, *process.parents()]
    except psutil.Error:
        line = [process]
    return any(_carries(one, token) for one in line)


def _carries(process: Any, token: str | None) -> bool:
    import psutil

    try:
        found = process.environ().get(OUR_VARIABLE)
    except (psutil.Error, OSError):
        return False  # another user's, or ended meanwhile: in neither case ours
    return found is not None and token in (None, found)


def short_command(arguments: list[str]) -> str | None:
    """Program and, for an interpreter, its script or module; never an argument.

    >>> short_command(["/usr/bin/python3", "-m", "vllm.serve", "--api-key", "x"])
    'python3 -m vllm.serve'
    """
    if not arguments or not arguments[0]:
        return None
    program = PurePath(arguments[0].split()[0]).name
    rest = arguments[1:]
    if not program.startswith("python"):
        return program
    if len(rest) > 1 and rest[0] == "-m":
        return f"{program} -m {rest[1]}"
    if rest and not rest[0].startswith("-"):
        return f"{program} {os.path.basename(rest[0])}"
    return program
