"""Floors of tests: deployments/floor.toml belongs to the machine, and may say anything."""

from deployments.floor import FloorFile, Pool, pools

FILE = FloorFile.model_validate(
    {"control": {"limit": 4}, "gpu": {"threads": 4}, "cpu": {"pools": 2, "threads": 1}}
)


def floor(gpus: int = 0) -> list[Pool]:
    """The pools of a machine with so many GPUs; without one, those of two workers on the CPU."""
    return pools(FILE, dict.fromkeys(range(gpus), "H200"))
