"""prefect.yaml read strictly, and written out once for each work pool.

Prefect ignores unknown keys in its file, so a typo such as `concurency_limit` deploys without a
word. Here every key must be known. An entry whose pool is `{{ $PITBOSS_ON }}` stands for one
deployment on each GPU's pool, and one that names `{{ $PITBOSS_FLOW }}` for one of each kind of
experiment: the number of GPUs appears in one place only, the floor, and so do the experiments.
"""

import copy
import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from deployments.floor import CONTROL, Pool, this_floor
from deployments.settings import ROOT
from pitboss.errors import BadInput, PitbossError
from pitboss.experiments.registry import settings_types

FILE = ROOT / "prefect.yaml"
ON, FLOW, ABOUT = "PITBOSS_ON", "PITBOSS_FLOW", "PITBOSS_ABOUT"
PLACEHOLDER = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WorkPool(_Strict):
    name: str


class Schedule(_Strict):
    """A schedule; `slug` gives it an identity across deploys, `active` is its first state."""

    slug: str
    cron: str
    timezone: str
    active: bool
    parameters: dict[str, Any] = {}


class Deployment(_Strict):
    """One entry. There is no concurrency limit on purpose: its lease kills long runs."""

    name: str
    entrypoint: str = Field(pattern=r"^flows/\w+\.py:\w+$")
    description: str = Field(min_length=20)
    tags: list[str] = Field(min_length=1)
    parameters: dict[str, Any]
    work_pool: WorkPool
    schedules: list[Schedule] = []
    enforce_parameter_schema: bool = True

    @field_validator("schedules")
    @classmethod
    def _distinct_slugs(cls, schedules: list[Schedule]) -> list[Schedule]:
        slugs = [schedule.slug for schedule in schedules]
        if len(set(slugs)) != len(slugs):
            raise ValueError(f"schedule slugs repeat: {slugs}")
        return schedules


class PrefectYaml(_Strict):
    """The whole file, written out."""

    name: str
    pull: list[dict[str, dict[str, str]]]
    deployments: list[Deployment] = Field(min_length=1)


def read(
    pools: Sequence[str], env: Mapping[str, str], path: Path = FILE
) -> tuple[PrefectYaml, dict[str, Any]]:
    """The file written out and checked, and the mapping that it is then.

    Raises:
        BadInput: The file is missing, is no YAML, needs a variable that is not set, or has an
            unknown, missing or impossible entry.
    """
    try:
        written = expand(yaml.safe_load(path.read_text()), pools, env)
        return PrefectYaml.model_validate(written), written
    except FileNotFoundError:
        raise BadInput("prefect.yaml is missing.", where=str(path)) from None
    except yaml.YAMLError as error:
        raise BadInput(f"prefect.yaml is no YAML: {error}", where=str(path)) from error
    except ValidationError as error:
        raise BadInput(
            f"prefect.yaml has entries that would be ignored or are wrong: {error}",
            where=str(path),
            next="Correct the entries named above.",
        ) from error


def load_flow(entrypoint: str) -> Any:
    """The flow an entrypoint `flows/games.py:games` names.

    Raises:
        BadInput: The module cannot be imported or has no such flow.
    """
    from prefect.flows import Flow

    file, name = entrypoint.split(":")
    module = file.removesuffix(".py").replace("/", ".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput(
            f"The entrypoint {entrypoint!r} cannot be loaded: {error}", where="prefect.yaml"
        ) from error
    if not isinstance(found, Flow):
        raise BadInput(f"The entrypoint {entrypoint!r} is no flow.", where="prefect.yaml")
    return found


def expand(raw: dict[str, Any], pools: Sequence[str], env: Mapping[str, str]) -> dict[str, Any]:
    """The mapping with every `{{ $NAME }}` replaced; entries for pools and experiments written out.

    Prefect itself drops a placeholder whose variable is unset, without an error.

    Raises:
        BadInput: A variable is not set.
    """
    document = copy.deepcopy(raw)
    entries = document.pop("deployments", [])
    written: dict[str, Any] = _replace(document, env)
    written["deployments"] = [
        _replace(entry, {**env, **extra}) for entry in entries for extra in _variants(entry, pools)
    ]
    return written


def _variants(entry: Any, pools: Sequence[str]) -> list[dict[str, str]]:
    """What an entry's placeholders stand for, one mapping a deployment."""
    used = set(PLACEHOLDER.findall(str(entry)))
    on_pools = [{ON: pool} for pool in pools] if ON in used else [{}]
    of_flows = [
        {FLOW: settings.flow, ABOUT: cleandoc(settings.__doc__ or "").split("\n\n")[0]}
        for settings in settings_types().values()
    ]
    flows = of_flows if FLOW in used else [{}]
    return [{**flow, **on} for flow, on in product(flows, on_pools)]


def _replace(value: Any, env: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replace(item, env) for key, item in value.items()}
    if isinstance(value, list):
        return [_replace(item, env) for item in value]
    if isinstance(value, str):
        return PLACEHOLDER.sub(lambda match: _required(env, match[1]), value)
    return value


def _required(env: Mapping[str, str], name: str) -> str:
    if name not in env:
        raise BadInput(
            f"prefect.yaml needs the environment variable {name}, which is not set.",
            next="Deploy with `make up`, which sets it.",
        )
    return env[name]


def names(document: dict[str, Any]) -> set[str]:
    """`flow/deployment` for every entry of a written-out file; a flow is named as its function."""
    return {
        f"{entry['entrypoint'].split(':')[1]}/{entry['name']}" for entry in document["deployments"]
    }


def check(path: Path, floor: Sequence[Pool], env: Mapping[str, str]) -> dict[str, Any]:
    """What can be wrong in prefect.yaml, found before anything is deployed.

    Returns:
        The written-out file: one entry for each deployment.

    Raises:
        BadInput: See `read`; an unknown pool; a name used twice.
    """
    pools = {pool.name for pool in floor}
    _, document = read([name for name in sorted(pools) if name != CONTROL], env, path)
    for written in document["deployments"]:
        if written["work_pool"]["name"] not in pools:
            raise BadInput(
                f"The work pool {written['work_pool']['name']!r} is not on this floor.",
                where=f"deployment {written['name']!r} in {path.name}",
                next=f"The pools are {', '.join(sorted(pools))}: see deployments/floor.toml.",
            )
    if len(names(document)) != len(document["deployments"]):
        raise BadInput("Two deployments have the same flow and name.", where=path.name)
    return document


def check_flows(document: dict[str, Any]) -> None:
    """Whether every entrypoint is a flow, and has the parameters the file gives it.

    Imports all flows, which takes seconds, so this belongs to `make test`; `deploy` imports them
    anyway.

    Raises:
        BadInput: See `load_flow`; a parameter the flow does not have; a flow with another name than
            its function.
    """
    for entry in PrefectYaml.model_validate(document).deployments:
        flow = load_flow(entry.entrypoint)
        where = f"{entry.entrypoint} in {FILE.name}"
        if flow.name != entry.entrypoint.split(":")[1]:
            raise BadInput(f"The flow is named {flow.name!r}, not as its function.", where=where)
        known = flow.parameters.properties
        given = set(entry.parameters).union(*(each.parameters for each in entry.schedules))
        if unknown := given - set(known):
            raise BadInput(
                f"The flow {flow.name!r} has no parameter {', '.join(sorted(unknown))}.",
                where=where,
                next=f"Its parameters are {', '.join(known)}.",
            )


def main() -> int:
    """`python -m deployments.prefect_yaml`: check the file and list its deployments."""
    try:
        document = check(FILE, this_floor(), {**os.environ, "PITBOSS_ROOT": str(ROOT)})
        check_flows(document)
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"prefect.yaml is right: {len(document['deployments'])} deployments on this floor.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
