"""A survey of all GPUs, taken with NVML: who uses how much of each.

Of other people's processes only what the kernel shows everybody is recorded, and of a command line
only the program: arguments can hold secrets, and surveys are stored and shown.
"""

import os
import socket
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import NVML, Gpu, Survey, Tenant

# What `make up` puts into the environment of all it starts (deployments/processes.py).
OUR_VARIABLE = "PITBOSS_UP"


def survey() -> Survey:
    """Ask the driver who uses what now.

    Raises:
        BadInput: There is no driver, or it does not answer.
    """
    import pynvml as nvml

    taken = datetime.now(UTC).isoformat(timespec="seconds")
    with _driver(nvml):
        try:
            count = nvml.nvmlDeviceGetCount()
            gpus = tuple(_gpu(nvml, index) for index in range(count))
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


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    utilisation = _maybe(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    held = _processes(nvml, handle)
    return Gpu(
        index=index,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        name=nvml.nvmlDeviceGetName(handle),
        total=int(memory.total),
        used=int(memory.used),
        utilisation=None if utilisation is None else int(utilisation.gpu),
        temperature=_maybe(nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        tenants=tuple(_listed(pid, size) for pid, size in sorted(held.items())),
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


def _listed(pid: int, memory: int | None) -> Tenant:
    """The process that the driver calls by this number.

    In a container the driver may give the host's numbers. One that happens to be the number of a
    process of ours would make a stranger ours, so a process that has no GPU open is not the one.
    """
    if _has_gpu_open(pid) is False:
        return Tenant(pid, None, None, memory, False)
    return _tenant(pid, memory)


def _has_gpu_open(pid: int) -> bool | None:
    """Whether a process holds a GPU's device file; None where the kernel does not say."""
    try:
        names = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:  # another user's, or ended meanwhile
        return None
    return any(name.startswith(("/dev/nvidia", "/dev/dxg")) for name in names)


def _tenant(pid: int, memory: int | None) -> Tenant:
    """A process with what the kernel tells us of it.

    It is ours if it, or one that it descends from, carries our token in its environment.
    """
    import psutil

    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:  # ended meanwhile, or its number belongs to the host's namespace
        return Tenant(pid, None, None, memory, False)
    line = [process, *(_told(process.parents) or [])]
    return Tenant(
        pid,
        user=_told(process.username),
        command=short_command(_told(process.cmdline) or []),
        memory=memory,
        ours=any(OUR_VARIABLE in (_told(one.environ) or {}) for one in line),
    )


def _told(ask: Callable[[], Any]) -> Any:
    """What the kernel says of a process; None if it is another user's, or ended meanwhile."""
    import psutil

    try:
        return ask()
    except (psutil.Error, OSError):
        return None


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
