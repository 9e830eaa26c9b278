"""Types of parameters that several flows share, and the names of runs."""

import os
from collections.abc import Sequence
from typing import Annotated

from prefect import runtime
from pydantic import Field

from pitboss.errors import BadInput

# Prefect's form takes types and limits from here, and explanations from each flow's docstring.
StudyPath = Annotated[str, Field(pattern=r"^\w[\w./-]*\.yaml$")]
SurveyPath = Annotated[str | None, Field(pattern=r"^\w[\w./-]*\.yaml$")]
ModelAlias = Annotated[str | None, Field(pattern=r"^\w+$")]
Shard = Annotated[int, Field(ge=0)]
Shards = Annotated[int, Field(ge=1)]


def chosen(wanted: str | None, known: Sequence[str], where: str) -> list[str]:
    """The models a run is for.

    Raises:
        BadInput: The study does not name that model for this experiment.
    """
    if wanted is None:
        return list(known)
    if wanted not in known:
        raise BadInput(
            f"The study has no model {wanted!r} in {where}.",
            where="parameter model",
            next=f"Use one of {', '.join(known)}, or leave it empty for all.",
        )
    return [wanted]


def run_name() -> str:
    """`patching demo llama 1/2 on gpu-0`: what a person sees in lists of runs."""
    values = runtime.flow_run.parameters
    study = os.path.splitext(os.path.basename(str(values.get("study", ""))))[0]
    words = [runtime.flow_run.flow_name, study]
    if values.get("model"):
        words.append(str(values["model"]))
    if int(values.get("shards") or 1) > 1:
        words.append(f"{int(values['shard']) + 1}/{values['shards']}")
    if pool := os.environ.get("PITBOSS_POOL"):
        words.append(f"on {pool}")
    return " ".join(word for word in words if word)
