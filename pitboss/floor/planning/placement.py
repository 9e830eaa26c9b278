"""What is proposed: a job on a GPU from then to then, and an option made of such placements."""

from dataclasses import dataclass

from pitboss.floor.memory.thresholds import Safety, safety
from pitboss.floor.planning.jobs import Chunk, Speed


@dataclass(frozen=True, slots=True)
class Placement:
    """A job, or a part of the patching, on a GPU. Hours count from now.

    Attributes:
        layers: Layer range such as "1-8"; "" for whole jobs, "any" where chunks flow.
        margin: Bytes left on the GPU with this job, the tenants' recent growth taken off.
        speed: Hours of a whole job, seconds a feature of the patching; with its source.
        chunks: What of the patching it does; where chunks flow this is the simulation's outcome.
        shared_with: Tenants there at the same time. others: Whether one of them is not ours.
        waits_for: Jobs of ours that end before it starts.
        untimed: Those it waits for, in the end, of which nobody knows how long they take: it starts
            and ends then or later.
    """

    job: str
    gpu: int
    layers: str
    start_h: float
    end_h: float
    margin: int
    footprint: int
    speed: Speed
    chunks: tuple[Chunk, ...] = ()
    shared_with: tuple[str, ...] = ()
    others: bool = False
    waits_for: tuple[str, ...] = ()
    untimed: tuple[str, ...] = ()

    @property
    def hours(self) -> float:
        return self.end_h - self.start_h

    @property
    def features(self) -> int:
        return sum(chunk.size for chunk in self.chunks)

    @property
    def safety(self) -> Safety:
        return safety(self.margin)


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run the patching. Hours count from now.

    Attributes:
        starts_h: When the first GPU begins. takes_h: From then to the end of the last.
        risk: What can go wrong, in words. pros, cons: What speaks for and against it.
        elastic: Whether chunks flow; otherwise each GPU has its own layers.
    """

    letter: str
    title: str
    placements: tuple[Placement, ...]
    starts_h: float
    takes_h: float
    elastic: bool
    risk: str = ""
    pros: tuple[str, ...] = ()
    cons: tuple[str, ...] = ()

    @property
    def ends_h(self) -> float:
        return self.starts_h + self.takes_h

    @property
    def untimed(self) -> tuple[str, ...]:
        """Jobs of unknown duration that it waits for: it starts and ends then or later."""
        return tuple(sorted({name for p in self.placements for name in p.untimed}))

    @property
    def gpus(self) -> tuple[int, ...]:
        return tuple(placement.gpu for placement in self.placements)

    @property
    def marginal(self) -> tuple[Placement, ...]:
        """Placements beside a tenant that would leave less than a safe margin."""
        return tuple(p for p in self.placements if p.shared_with and p.safety != "safe")
