"""Surveys as YAML files: sizes in GB (10⁹ bytes), as people write them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import Gpu, Survey, Tenant

_GPU_KEYS = {"index", "uuid", "name", "total_gb", "used_gb", "utilisation", "temperature"}
_TENANT_KEYS = {"pid", "user", "command", "memory_gb", "ours"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One mapping of the file, with its place for error messages."""

    values: dict[str, Any]
    where: str

    def get(self, key: str, kind: type, *, needed: bool = False) -> Any:
        value = self.values.get(key)
        if value is None:
            if needed:
                raise _bad(f"{key} is missing", self.where)
            return None
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise _bad(f"{key} is {value!r}, not {_KINDS[kind]}", self.where)
        return value

    def size(self, key: str, *, needed: bool = False) -> int | None:
        value = self.get(key, float, needed=needed)
        if value is not None and not 0 <= value < 1e6:
            raise _bad(f"{key} is {value}, not a size in GB", self.where)
        return None if value is None else round(value * 1e9)


_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def read_survey(path: Path | str) -> Survey:
    """Read a survey file.

    Raises:
        BadInput: It is missing, is no YAML, or has an unknown, missing or impossible entry.
    """
    import yaml

    path = Path(path)
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(
            "There is no such survey file.",
            where=str(path),
            next="Give a file such as studies/floors/plan.yaml.",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _bad(f"it is no YAML: {' '.join(str(error).split())}", str(path)) from error
    top = _entry(tree, {"host", "taken", "gpus"}, str(path))
    gpus = tuple(_read_gpu(gpu, f"{path}, gpus[{n}]") for n, gpu in enumerate(_list(top, "gpus")))
    indices = [gpu.index for gpu in gpus]
    if len(set(indices)) != len(indices):
        raise _bad(f"GPU indices {indices} are not all different", str(path))
    taken = str(top.values.get("taken", "unknown"))
    return Survey(top.get("host", str) or "unknown", taken, str(path), gpus)


def _read_gpu(tree: Any, where: str) -> Gpu:
    entry = _entry(tree, _GPU_KEYS | {"tenants"}, where)
    total, used = entry.size("total_gb", needed=True), entry.size("used_gb", needed=True)
    assert total is not None and used is not None
    if used > total:
        raise _bad(f"{used / 1e9:g} GB of {total / 1e9:g} GB are used", where)
    tenants = tuple(
        _read_tenant(tenant, f"{where}.tenants[{n}]")
        for n, tenant in enumerate(_list(entry, "tenants"))
    )
    return Gpu(
        index=entry.get("index", int, needed=True),
        uuid=entry.get("uuid", str),
        name=entry.get("name", str) or "unknown",
        total=total,
        used=used,
        utilisation=entry.get("utilisation", int),
        temperature=entry.get("temperature", int),
        tenants=tenants,
    )


def _read_tenant(tree: Any, where: str) -> Tenant:
    entry = _entry(tree, _TENANT_KEYS, where)
    return Tenant(
        pid=entry.get("pid", int),
        user=entry.get("user", str),
        command=entry.get("command", str),
        memory=entry.size("memory_gb"),
        ours=bool(entry.get("ours", bool)),
    )


def _entry(tree: Any, allowed: set[str], where: str) -> _Entry:
    if not isinstance(tree, dict):
        raise _bad("a mapping is expected here", where)
    if strangers := sorted(str(key) for key in tree if key not in allowed):
        raise _bad(f"unknown {', '.join(strangers)}; allowed are {sorted(allowed)}", where)
    return _Entry(tree, where)


def _list(entry: _Entry, key: str) -> list[Any]:
    return entry.get(key, list) or []


_KINDS[list] = "a list"


def _bad(what: str, where: str) -> BadInput:
    return BadInput(
        f"The survey file cannot be used: {what}.",
        where=where,
        next="Correct that place; `python -m pitboss.floor survey --write FILE` shows the form.",
    )


def write_survey(survey: Survey, path: Path | str) -> None:
    """Write a survey so that `read_survey` gives the same GPUs and tenants again."""
    import yaml

    gpus = [
        {
            "index": gpu.index,
            "uuid": gpu.uuid,
            "name": gpu.name,
            "total_gb": gpu.total / 1e9,
            "used_gb": gpu.used / 1e9,
            "utilisation": gpu.utilisation,
            "temperature": gpu.temperature,
            "tenants": [
                {
                    "pid": tenant.pid,
                    "user": tenant.user,
                    "command": tenant.command,
                    "memory_gb": None if tenant.memory is None else tenant.memory / 1e9,
                    "ours": tenant.ours,
                }
                for tenant in gpu.tenants
            ],
        }
        for gpu in survey.gpus
    ]
    tree = {"host": survey.host, "taken": survey.taken, "gpus": gpus}
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    Path(path).write_text(text, encoding="utf-8")
