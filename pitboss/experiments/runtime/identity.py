"""What models, SAEs and prompts are, in the words that go into content keys."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from pitboss.games.prompts import prompt_set_hash
from pitboss.games.reading import reader
from pitboss.models.catalogue import model_spec, sae_release
from pitboss.studies.model import Study
from pitboss.studies.sampling import Sampling


@cache
def _files_hash(folder: Path) -> str:
    """Hash over all files below a folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@cache
def _texts_hash(names: tuple[str, ...]) -> str:
    """Every unit's key has it, and a prompt has a text for each of hundreds of states."""
    return prompt_set_hash(names)


def model_identity(study: Study, alias: str, *, own_prompts: bool = False) -> dict[str, Any]:
    """Which weights in which number format, and the shape of this experiment's matrix products."""
    spec = model_spec(study.models[alias].id)
    weights = {"files": _files_hash(spec.local)} if spec.local else {"revision": spec.revision}
    return {
        "model": spec.id,
        **weights,
        "dtype": study.engine.dtype,
        **({"precision": "fp8"} if study.engine.precision == "fp8" else {}),
        "width": study.engine.width_of(own_prompts=own_prompts),
        "seed": study.seed,
    }


def sae_identity(study: Study, alias: str, layer: int, gate: str) -> dict[str, Any]:
    """Which SAE under which gate, read where."""
    release = sae_release(study.models[alias].sae)
    files = {"files": _files_hash(release.local)} if release.local else {}
    return {
        "release": release.id,
        "sae_id": release.sae_id_of(layer),
        **files,
        "gate": gate,
        "hook_point": f"blocks.{layer}.hook_resid_post",
    }


def prompts_identity(names: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """The prompts by name and by every letter of their texts."""
    return {"names": sorted(names), "texts": _texts_hash(tuple(names))}


class Playing(Protocol):
    """Settings of an experiment that plays games."""

    @property
    def prompt(self) -> str: ...
    @property
    def max_rounds(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def reader(self) -> str: ...
    @property
    def full_response(self) -> bool: ...


def play_identity(settings: Playing, sampling: Sampling) -> dict[str, Any]:
    """The settings of a playing experiment that determine its responses."""
    return {
        "max_rounds": settings.max_rounds,
        "retries": settings.retries,
        # Where a response ends, whether it is drawn again and what is bet follow from its reading.
        "reader": f"{settings.reader}/{reader(settings.reader).version}",
        "sampling": sampling.model_dump(),
        **({"full_response": True} if settings.full_response else {}),
    }
