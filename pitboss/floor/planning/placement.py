"""What is proposed: a job on a GPU from then to then, and an option made of such placements."""

from dataclasses import dataclass

from pitboss.floor.memory.gpus import Tenant
from pitboss.floor.memory.thresholds import Safety, safety
from pitboss.floor.planning.jobs import Chunk, Speed


@dataclass(frozen=True)
class Window:
    """A GPU as a job can have it. Hours count from now.

    Attributes:
        opens: Hours until it may begin.
        margin: Bytes left there with our job, the tenants' recent growth taken off.
        speed: Hours of a whole job, seconds a feature of the shared one; with its source.
        waits_for: Jobs of ours that must end first.
        sharers: Who is there at the same time.
        untimed: Jobs that must end first, directly or not, of which nobody knows how long they
            take: it opens then or later.
    """

    gpu: int
    opens: float
    margin: int
    speed: Speed
    waits_for: tuple[str, ...] = ()
    sharers: tuple[Tenant, ...] = ()
    untimed: tuple[str, ...] = ()

    @property
    def safety(self) -> Safety:
        return safety(self.margin)

    @property
    def others(self) -> bool:
        """Whether somebody else than Pitboss is there."""
        return any(not tenant.ours for tenant in self.sharers)

    @property
    def shares(self) -> tuple[str, ...]:
        """The sharers as questions call them, in alphabetical order."""
        return tuple(sorted({tenant.who for tenant in self.sharers}))

    @property
    def shared_with(self) -> tuple[str, ...]:
        """The sharers as tables call them, each with its user."""
        return tuple(
            f"{t.label} ({'ours' if t.ours else t.user or 'unknown user'})" for t in self.sharers
        )

    def hours(self, features: int) -> float:
        """How long so many features of the shared job take."""
        return features * self.speed.value / 3600


@dataclass(frozen=True, kw_only=True)
class Placement(Window):
    """A job in a window.

    Attributes:
        layers: Layer range of the shared job such as "1-8"; "any" where chunks flow; "" for others.
        chunks: What of the shared job it does; where chunks flow, the simulation's outcome.
    """

    job: str
    footprint: int
    start_h: float
    end_h: float
    layers: str = ""
    chunks: tuple[Chunk, ...] = ()

    @property
    def takes_h(self) -> float:
        return self.end_h - self.start_h

    @property
    def features(self) -> int:
        return sum(chunk.size for chunk in self.chunks)

    @property
    def work(self) -> str:
        """The job and what of it, such as Exp2 layers 1-8."""
        if not self.layers:
            return self.job
        return f"{self.job} {'any layers' if self.layers == 'any' else f'layers {self.layers}'}"

    @property
    def untimed_end(self) -> tuple[str, ...]:
        """Jobs of unknown duration that its end depends on, itself included."""
        return self.untimed if self.speed.known else (*self.untimed, self.job)


@dataclass(frozen=True)
class Option:
    """One way to run the shared job, or where there is none, all jobs. Hours count from now.

    Attributes:
        starts_h: When the first GPU begins. takes_h: From then to the end of the last.
        risk: What can go wrong, in words. pros, cons: What speaks for and against it.
        elastic: Whether chunks flow, so that it can do without a GPU; otherwise each GPU's share is
            fixed beforehand.
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
        return tuple(sorted({name for p in self.placements for name in p.untimed_end}))

    @property
    def gpus(self) -> tuple[int, ...]:
        return tuple(sorted({placement.gpu for placement in self.placements}))

    @property
    def marginal(self) -> tuple[Placement, ...]:
        """Placements beside a tenant that would leave less than a safe margin."""
        return tuple(p for p in self.placements if p.sharers and p.safety != "safe")
