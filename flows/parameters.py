"""Types of parameters that several flows share, and the names of runs."""

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from prefect import runtime
from pydantic import Field

from pitboss.errors import BadInput, PitbossError
from pitboss.studies.model import Study
from tasks.study import read_study

# Prefect's form takes types and limits from here, and explanations from each flow's docstring.
StudyPath = Annotated[str, Field(pattern=r"^\w[\w./-]*\.yaml$")]
SurveyPath = Annotated[str | None, Field(pattern=r"^\w[\w./-]*\.yaml$")]
ExperimentName = Annotated[str | None, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
ModelAlias = Annotated[str | None, Field(pattern=r"^\w+$")]
Shard = Annotated[int, Field(ge=0)]
Shards = Annotated[int, Field(ge=1)]


def chosen(wanted: str | None, known: Sequence[str], where: str) -> list[str]:
    """The models or experiments that a run is for.

    Raises:
        BadInput: There is no such one.
    """
    if wanted is None:
        return list(known)
    if wanted not in known:
        raise BadInput(
            f"There is no {wanted!r} among {where}: {', '.join(known)}.",
            where="parameters of the run",
            next="Use one of these, or leave it empty for all.",
        )
    return [wanted]


def run_name() -> str:
    """The name of the run that is under way: what a person sees in lists of runs."""
    pool = os.environ.get("PITBOSS_POOL", "")
    return named(runtime.flow_run.flow_name, runtime.flow_run.parameters, pool)


def named(flow: str, parameters: Mapping[str, Any], pool: str) -> str:
    """`patching demo llama L0-3 1/2 on gpu-0`: flow, study, model, layers, share and pool."""
    path = str(parameters.get("study", ""))
    words = [flow, os.path.splitext(os.path.basename(path))[0]]
    words += _about(flow, path, parameters.get("experiment"), parameters.get("model"))
    if int(parameters.get("shards") or 1) > 1:
        words.append(f"{int(parameters['shard']) + 1}/{parameters['shards']}")
    if pool:
        words.append(f"on {pool}")
    return " ".join(word for word in words if word)


def _about(flow: str, path: str, experiment: str | None, model: str | None) -> list[str]:
    """Experiment, models and layers of a run, as far as its study says.

    A bad study is the flow's business.
    """
    try:
        study = read_study(path)
    except (PitbossError, OSError):
        return [experiment or "", model or ""]
    alike = [name for name, each in study.experiments.items() if each.flow == flow]
    if not alike:
        return []
    name = experiment if experiment in alike else alike[0]
    models = [model] if model else study.aliases_of(name)
    layers = _layers(study, name)
    return [
        name if len(alike) > 1 else "",
        "+".join(models),
        f"L{ranges(layers)}" if layers else "",
    ]


def _layers(study: Study, experiment: str) -> list[int]:
    """The layers that an experiment is about: its own, or those of what it reads first."""
    settings = study.experiments[experiment]
    if layers := getattr(settings, "layers", None):
        return list(layers)
    first = next(settings.references(), None)
    return _layers(study, first.name) if first else []


def ranges(numbers: Sequence[int]) -> str:
    """`[0, 1, 2, 5]` -> `0-2,5`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
