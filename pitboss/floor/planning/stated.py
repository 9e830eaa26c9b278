"""A plan's own figures from a YAML file: memory in GB, durations, and how it deals out layers."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from pitboss.floor.memory.yaml_file import read_yaml
from pitboss.floor.planning.jobs import ANY, PLAN, Job, SharedJob, Speed, Work
from pitboss.studies.fields import Section

EXAMPLE = "studies/floors/plan-figures.yaml"
Positive = Annotated[float, Field(gt=0, lt=1e6)]


def _span(text: str) -> str:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise ValueError(f"{text!r} is no range of layers such as 1-8")
    return text


Span = Annotated[str, AfterValidator(_span)]


class _Figures(Section):
    name: str
    """How the plan calls it."""

    experiment: str | None = None
    model: str | None = None
    """The study's names of the experiment and the model whose figures these are."""

    memory_gb: Positive
    after: list[str] = []
    """What must be over first, as the plan calls it."""


class StatedJob(_Figures):
    """An experiment that runs on one GPU."""

    hours: Positive
    measured: str | None = None
    """Where the hours come from, if somebody measured them."""

    running_on: int | None = None

    def job(self) -> Job:
        return Job(
            name=self.name,
            footprint=round(self.memory_gb * 1e9),
            footprint_source=PLAN,
            hours={ANY: Speed(self.hours, self.measured or PLAN)},
            after=tuple(self.after),
            running_on=self.running_on,
        )


class StatedShared(_Figures):
    """The experiment that is spread over GPUs."""

    seconds_per_feature: Positive
    layers: Span
    per_layer: Annotated[int, Field(ge=1)]
    chunk: Annotated[int, Field(ge=1)] = 100
    parts: list[Span] = []
    stated_days: dict[Span, Positive] = {}

    def job(self) -> SharedJob:
        first, last = _pair(self.layers)
        return SharedJob(
            name=self.name,
            footprint=round(self.memory_gb * 1e9),
            footprint_source=PLAN,
            features=dict.fromkeys(range(first, last + 1), self.per_layer),
            seconds={ANY: Speed(self.seconds_per_feature, PLAN)},
            chunk=self.chunk,
            parts=tuple(_pair(part) for part in self.parts),
            stated={_pair(span): days * 24 for span, days in self.stated_days.items()},
            after=tuple(self.after),
        )


class Stated(Section):
    """The whole file."""

    jobs: list[StatedJob]
    shared: StatedShared | None = None

    def of(self, experiment: str, model: str) -> "StatedJob | StatedShared | None":
        """The figures for an experiment of a study on one of its models, if there are any."""
        every: list[StatedJob | StatedShared] = [
            *self.jobs,
            *([self.shared] if self.shared else []),
        ]
        found = (each for each in every if (each.experiment, each.model) == (experiment, model))
        return next(found, None)

    def work(self) -> Work:
        """Everything with the plan's figures, each with `PLAN` as its source."""
        shared = None if self.shared is None else self.shared.job()
        return Work(tuple(job.job() for job in self.jobs), shared)


def _pair(span: str) -> tuple[int, int]:
    first, _, last = span.partition("-")
    return int(first), int(last)


def read_stated(path: Path | str) -> Stated:
    """Read a plan's figures; raises BadInput as `read_yaml` does."""
    return read_yaml(Path(path), Stated, "file of figures", EXAMPLE)
