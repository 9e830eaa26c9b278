"""What has to be placed: the experiments, with footprint and duration and where each comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

ANY = "any GPU"
PLAN = "plan"
# A duration somebody stated, and nobody measured, is given half as long again before anything
# relies on its end. With this the plan's 24 h become the 1.5 days after which its option A starts.
ALLOWANCE = 1.5


@dataclass(frozen=True)
class Speed:
    """A number for one kind of GPU, and where it comes from: `PLAN` or a pilot."""

    value: float
    source: str

    @property
    def measured(self) -> bool:
        return self.source != PLAN

    @property
    def known(self) -> bool:
        return self != UNKNOWN


# A duration that nobody timed or stated; what starts after it starts at some time from then on.
UNKNOWN = Speed(0.0, "nobody timed it")


@dataclass(frozen=True)
class Job:
    """One experiment on one model, on one GPU from beginning to end.

    Attributes:
        footprint: Bytes of the GPU it takes. footprint_source: `PLAN` or the memory model.
        hours: By kind of GPU (or `ANY`).
        after: Names of jobs that must be over first.
        running_on: Index of the GPU it already runs on; its memory is in the survey, its hours are
            what is left.
        joins: Whether several workers may share it, so that it runs where the shared job did.
    """

    name: str
    footprint: int
    footprint_source: str
    hours: Mapping[str, Speed]
    after: tuple[str, ...] = ()
    running_on: int | None = None
    joins: bool = False

    def on(self, kind: str) -> Speed | None:
        """Its duration in hours on a kind of GPU; None where nobody measured it."""
        return self.hours.get(kind) or self.hours.get(ANY)


class Chunk(NamedTuple):
    """Features of one layer that are carried out and stored together."""

    layer: int
    first: int
    size: int


@dataclass(frozen=True)
class SharedJob:
    """The experiment that is spread over GPUs: features by layer, in chunks.

    Attributes:
        features: How many of each layer.
        chunk: Most features of a chunk.
        seconds: Seconds a feature by kind of GPU (or `ANY`).
        parts: Layer ranges (first, last) in which a plan deals them out; empty: evenly.
        stated: Hours that the plan states for layer ranges.
        after: Names of jobs that must be over first.
    """

    name: str
    footprint: int
    footprint_source: str
    features: Mapping[int, int]
    seconds: Mapping[str, Speed]
    chunk: int = 100
    parts: tuple[tuple[int, int], ...] = ()
    stated: Mapping[tuple[int, int], float] = field(default_factory=dict)
    after: tuple[str, ...] = ()

    def on(self, kind: str) -> Speed | None:
        """Seconds a feature on a kind of GPU; None where nobody measured it."""
        return self.seconds.get(kind) or self.seconds.get(ANY)

    @property
    def total(self) -> int:
        return sum(self.features.values())

    def chunks(self) -> list[Chunk]:
        """Every feature once, in chunks that do not cross layers."""
        return [
            Chunk(layer, first, min(self.chunk, count - first))
            for layer, count in sorted(self.features.items())
            for first in range(0, count, self.chunk)
        ]


class Work(NamedTuple):
    """Everything there is to place; `shared` is None where no experiment is spread over GPUs."""

    jobs: tuple[Job, ...]
    shared: SharedJob | None

    @property
    def following(self) -> tuple[Job, ...]:
        """Jobs with no place of their own: those that wait for the shared job, directly or not,
        and those that join its workers."""
        if self.shared is None:
            return ()
        found: dict[str, Job] = {}
        for job in self.jobs:
            if job.joins or not {self.shared.name, *found}.isdisjoint(job.after):
                found[job.name] = job
        return tuple(found.values())
