"""The work pools of the floor: one for each GPU, or two on the CPU of a machine without one."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pitboss.errors import BadInput

FLOOR_FILE = Path(__file__).with_name("floor.toml")
CONTROL = "control"
GPU_POOLS = "gpu-"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ControlSection(_Section):
    limit: int = Field(ge=1)


class GpuSection(_Section):
    devices: list[int] | None = None
    threads: int = Field(ge=1)


class CpuSection(_Section):
    pools: int = Field(ge=1)
    threads: int = Field(ge=1)


class FloorFile(_Section):
    control: ControlSection
    gpu: GpuSection
    cpu: CpuSection


@dataclass(frozen=True)
class Pool:
    """One work pool: its name, how many runs it lets in at once, and their environment."""

    name: str
    limit: int
    description: str
    env: dict[str, str]


def read_floor_file(path: Path = FLOOR_FILE) -> FloorFile:
    """Read the floor file.

    Raises:
        BadInput: The file is missing, is no TOML, or has an unknown or impossible entry.
    """
    try:
        return FloorFile.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise BadInput("The floor file is missing.", where=str(path)) from None
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise BadInput(
            f"The floor file cannot be read: {error}",
            where=str(path),
            next="Correct the entry named above.",
        ) from error


def gpus_present() -> dict[int, str]:
    """Index and name of every GPU the NVIDIA driver lists; empty without a driver.

    The index is in PCI bus order, which CUDA follows with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return {}
    except pynvml.NVMLError as error:
        raise BadInput(
            f"The NVIDIA driver is present but does not answer: {error}",
            next="Check `nvidia-smi`.",
        ) from error
    try:
        return {
            index: pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))
            for index in range(pynvml.nvmlDeviceGetCount())
        }
    finally:
        pynvml.nvmlShutdown()


def pools(floor: FloorFile, present: dict[int, str]) -> list[Pool]:
    """The control pool, then one for each GPU or, where there is none, those of the CPU.

    Raises:
        BadInput: The floor file names a GPU that this machine does not have.
    """
    control = Pool(
        CONTROL,
        floor.control.limit,
        "Runs campaigns: they start the other flows and wait for them.",
        {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )
    wanted = floor.gpu.devices if floor.gpu.devices is not None else sorted(present)
    if missing := [index for index in wanted if index not in present]:
        raise BadInput(
            f"The floor names GPUs {missing}, this machine has {sorted(present) or 'none'}.",
            where="gpu.devices in deployments/floor.toml",
            next="Name GPUs that exist, or remove the entry to take all of them.",
        )
    if wanted:
        return [control, *(_gpu_pool(index, present[index], floor.gpu.threads) for index in wanted)]
    return [control, *(_cpu_pool(index, floor.cpu.threads) for index in range(floor.cpu.pools))]


def _gpu_pool(index: int, name: str, threads: int) -> Pool:
    return Pool(
        f"{GPU_POOLS}{index}",
        1,
        f"One run at a time on GPU {index}, {name}.",
        {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": str(index),
            "OMP_NUM_THREADS": str(threads),
        },
    )


def _cpu_pool(index: int, threads: int) -> Pool:
    return Pool(
        f"{GPU_POOLS}{index}",
        1,
        f"One run at a time on the CPU with {threads} thread{'s' if threads > 1 else ''}: "
        "this machine has no GPU.",
        {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)},
    )


def this_floor() -> list[Pool]:
    """The pools of this machine."""
    return pools(read_floor_file(), gpus_present())
