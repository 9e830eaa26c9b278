"""Surveys as YAML files: sizes in GB (10⁹ bytes), as people write them."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from pitboss.floor.memory.gpus import Gpu, Survey, Tenant
from pitboss.floor.memory.yaml_file import read_yaml
from pitboss.studies.fields import Section

EXAMPLE = "studies/floors/plan.yaml"


def _in_bytes(size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0 <= size < 1e6:
        raise ValueError(f"{size!r} is no size in GB")
    return round(size * 1e9)


Size = Annotated[int, BeforeValidator(_in_bytes), PlainSerializer(lambda size: size / 1e9)]


class _Tenant(Section):
    pid: int | None = None
    user: str | None = None
    command: str | None = None
    memory: Annotated[Size | None, Field(alias="memory_gb")] = None
    ours: bool = False


class _Gpu(Section):
    index: int
    uuid: str | None = None
    name: str = "unknown"
    total: Annotated[Size, Field(alias="total_gb")]
    used: Annotated[Size, Field(alias="used_gb")]
    utilisation: int | None = None
    temperature: int | None = None
    tenants: list[_Tenant] = []

    @model_validator(mode="after")
    def _holds(self) -> "_Gpu":
        if self.used > self.total:
            raise ValueError(f"{self.used / 1e9:g} GB of {self.total / 1e9:g} GB are used")
        return self


class _Survey(Section):
    host: str = "unknown"
    taken: Any = "unknown"
    gpus: list[_Gpu] = []

    @model_validator(mode="after")
    def _different(self) -> "_Survey":
        indices = [gpu.index for gpu in self.gpus]
        if len(set(indices)) != len(indices):
            raise ValueError(f"the indices {indices} of its GPUs are not all different")
        return self


def read_survey(path: Path | str) -> Survey:
    """Read a survey file; raises BadInput as `read_yaml` does."""
    found = read_yaml(Path(path), _Survey, "survey file", EXAMPLE)
    gpus = (
        Gpu(**{**dict(gpu), "tenants": tuple(Tenant(**dict(tenant)) for tenant in gpu.tenants)})
        for gpu in found.gpus
    )
    return Survey(found.host, str(found.taken), str(path), tuple(gpus))


def write_survey(survey: Survey, path: Path | str) -> None:
    """Write a survey so that `read_survey` gives the same GPUs and tenants again."""
    import yaml

    gpus = [
        _Gpu.model_construct(
            **{**vars(gpu), "tenants": [_Tenant.model_construct(**vars(t)) for t in gpu.tenants]}
        )
        for gpu in survey.gpus
    ]
    found = _Survey.model_construct(host=survey.host, taken=survey.taken, gpus=gpus)
    tree = found.model_dump(by_alias=True)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")
