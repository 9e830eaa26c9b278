"""Surveys as YAML files: sizes in GB (10⁹ bytes), as people write them."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from pitboss.floor.memory.gpus import Gpu, Survey, Tenant
from pitboss.floor.memory.yaml_file import read_yaml
from pitboss.studies.fields import Section

EXAMPLE = "studies/floors/plan.yaml"
_SIZES = ("total", "used", "memory")
Size = Annotated[float, Field(ge=0, lt=1e6)]


class _Tenant(Section):
    pid: int | None = None
    user: str | None = None
    command: str | None = None
    memory_gb: Size | None = None
    ours: bool = False


class _Gpu(Section):
    index: int
    uuid: str | None = None
    name: str = "unknown"
    total_gb: Size
    used_gb: Size
    utilisation: int | None = None
    temperature: int | None = None
    tenants: list[_Tenant] = []

    @model_validator(mode="after")
    def _holds(self) -> "_Gpu":
        if self.used_gb > self.total_gb:
            raise ValueError(f"{self.used_gb:g} GB of {self.total_gb:g} GB are used")
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
    gpus = tuple(
        Gpu(
            **_in_bytes(gpu.model_dump(exclude={"tenants"})),
            tenants=tuple(Tenant(**_in_bytes(tenant.model_dump())) for tenant in gpu.tenants),
        )
        for gpu in found.gpus
    )
    return Survey(found.host, str(found.taken), str(path), gpus)


def write_survey(survey: Survey, path: Path | str) -> None:
    """Write a survey so that `read_survey` gives the same GPUs and tenants again."""
    import yaml

    gpus = [
        _in_gb(asdict(gpu)) | {"tenants": [_in_gb(asdict(tenant)) for tenant in gpu.tenants]}
        for gpu in survey.gpus
    ]
    tree = {"host": survey.host, "taken": survey.taken, "gpus": gpus}
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")


def _in_bytes(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removesuffix("_gb"): round(value * 1e9)
        if name.endswith("_gb") and value is not None
        else value
        for name, value in values.items()
    }


def _in_gb(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{name}_gb" if name in _SIZES else name: value / 1e9
        if name in _SIZES and value is not None
        else value
        for name, value in values.items()
    }
