"""A plan's own figures from a YAML file: memory in GB, durations, and how it deals out layers."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pitboss.errors import BadInput
from pitboss.floor.planning.jobs import ANY, Job, Patching, Speed, Work

PLAN = "plan"
Positive = Annotated[float, Field(gt=0, lt=1e6)]


def _span(text: str) -> str:
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise ValueError(f"{text!r} is no range of layers such as 1-8")
    return text


Span = Annotated[str, AfterValidator(_span)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StatedJob(_Section):
    """One experiment; `experiment` and `model` say which of a study's it is."""

    name: str
    experiment: str | None = None
    model: str | None = None
    memory_gb: Positive
    hours: Positive
    measured: str | None = None
    after: list[str] = []
    running_on: int | None = None


class StatedPatching(_Section):
    name: str
    memory_gb: Positive
    seconds_per_feature: Positive
    layers: Span
    per_layer: Annotated[int, Field(ge=1)]
    chunk: Annotated[int, Field(ge=1)] = 100
    parts: list[Span] = []
    stated_days: dict[Span, Positive] = {}
    after: list[str] = []


class Stated(_Section):
    """The whole file."""

    jobs: list[StatedJob]
    patching: StatedPatching

    def work(self) -> Work:
        """The jobs with the plan's figures, each with "plan" as its source."""
        p = self.patching
        first, last = _pair(p.layers)
        patching = Patching(
            name=p.name,
            footprint=round(p.memory_gb * 1e9),
            footprint_source=PLAN,
            features=dict.fromkeys(range(first, last + 1), p.per_layer),
            seconds={ANY: Speed(p.seconds_per_feature, PLAN)},
            chunk=p.chunk,
            parts=tuple(_pair(part) for part in p.parts),
            stated={_pair(span): days * 24 for span, days in p.stated_days.items()},
            after=tuple(p.after),
        )
        return Work(tuple(_job(job) for job in self.jobs), patching)


def _job(job: StatedJob) -> Job:
    return Job(
        name=job.name,
        footprint=round(job.memory_gb * 1e9),
        footprint_source=PLAN,
        hours={ANY: Speed(job.hours, job.measured or PLAN)},
        after=tuple(job.after),
        running_on=job.running_on,
    )


def _pair(span: str) -> tuple[int, int]:
    first, _, last = span.partition("-")
    return int(first), int(last)


def read_stated(path: Path | str) -> Stated:
    """Read a plan's figures.

    Raises:
        BadInput: The file is missing, is no YAML, or has an unknown or impossible entry.
    """
    import yaml

    path = Path(path)
    try:
        tree: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Stated.model_validate(tree)
    except FileNotFoundError:
        raise BadInput("There is no such file of figures.", where=str(path)) from None
    except (yaml.YAMLError, ValidationError) as error:
        raise BadInput(
            f"The plan's figures cannot be read: {' '.join(str(error).split())}",
            where=str(path),
            next="Correct the entry named above; studies/floors/plan-figures.yaml shows the form.",
        ) from error
