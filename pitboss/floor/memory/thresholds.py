"""What a GPU's memory means for us: thresholds, in bytes, and the words that go with them."""

from typing import Literal

from pitboss.floor.memory.gpus import DRIVERS_OWN, Gpu, Tenant

Occupancy = Literal["free", "shared", "full"]
Safety = Literal["safe", "marginal", "no"]

# Left over after our job. The plan calls 30 GB and more safe, and 10 to 16 GB marginal.
SAFE_FROM = 30_000_000_000
MARGINAL_FROM = 10_000_000_000


def occupancy(gpu: Gpu) -> Occupancy:
    """free: nobody uses it. shared: others do, and there is room. full: there is no room."""
    if gpu.free < MARGINAL_FROM:  # not even a job that takes nothing would leave that much
        return "full"
    return "free" if gpu.used <= DRIVERS_OWN else "shared"


def safety(margin: int) -> Safety:
    """What is said of bytes left over after our job, a tenant's recent growth taken off."""
    if margin >= SAFE_FROM:
        return "safe"
    return "marginal" if margin >= MARGINAL_FROM else "no"


def margin(gpu: Gpu, footprint: int, growth: int = 0) -> int:
    """Bytes left after a job of ours.

    Args:
        footprint: Bytes of the job.
        growth: Bytes by which the tenants may grow again (see `history.growth`).
    """
    return gpu.free - footprint - growth


def sharers(gpu: Gpu) -> tuple[Tenant, ...]:
    """With whom a job would share the GPU; nobody, where nobody holds more than the driver does."""
    return () if occupancy(gpu) == "free" else gpu.present
