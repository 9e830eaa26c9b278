"""What is checked before a study starts, without loading a weight: files, network, memory, disk."""

from pathlib import Path

import psutil

from pitboss.errors import BadInput
from pitboss.experiments.announce import announce
from pitboss.experiments.runtime.plan import Plan
from pitboss.models.catalogue import LAB_DIR, ModelSpec, SaeRelease, sae_release
from pitboss.models.checks import Check, check_disk, require
from pitboss.models.hub import require_reachable
from pitboss.studies.model import Study

# The announcement's bound supposes that every game lasts 100 rounds and every answer is retried;
# Parquet's compression alone brings its texts down about tenfold.
_DISK_SHARE = 0.1
_DISK_LEAST = 200_000_000
_BYTES = {"float32": 4, "bfloat16": 2}


def preflight(plan: Plan, results: Path) -> list[Check]:
    """Check that a study can be carried out on this machine.

    Args:
        results: Folder of all results.

    Raises:
        BadInput: Weights or SAEs are neither here nor within reach, an experiment's own files do
            not fit, or disk or memory is short.
    """
    study = plan.study
    for alias, choice in study.models.items():
        _weights(study.spec(alias))
        _saes(sae_release(choice.sae))
    for experiment in plan:
        experiment.preflight()
    needed = max(_DISK_LEAST, int(_DISK_SHARE * announce(plan).bytes))
    checks = [check_disk(results, needed), _memory(study)]
    require(checks)
    return checks


def _weights(spec: ModelSpec) -> None:
    if spec.local is None:
        require_reachable(
            spec.id,
            what=f"Model {spec.id}",
            next="Connect to the network and log in with `hf auth login` (or set HF_TOKEN), or "
            f"download it once with `hf download {spec.id} --revision {spec.revision}`.",
        )
    elif not (spec.local / "config.json").is_file():
        raise _missing_in_lab(spec.id, spec.local)


def _saes(release: SaeRelease) -> None:
    if release.local is not None and not release.local.is_dir():
        raise _missing_in_lab(release.id, release.local)


def _missing_in_lab(what: str, where: Path) -> BadInput:
    return BadInput(
        f"The shipped files of {what} are missing.",
        where=str(where),
        next=f"Check out {LAB_DIR.name}/ again, or build it with `make lab`.",
    )


def _memory(study: Study) -> Check:
    """Loading a model needs at least its weights in the machine's memory."""
    largest = max(study.spec(alias).n_params for alias in study.models)
    needed = largest * _BYTES[study.engine.dtype]
    free = psutil.virtual_memory().available
    detail = f"{free / 1e9:.1f} GB of memory are free, the largest model's weights need "
    return Check("memory", free >= needed, f"{detail}{needed / 1e9:.1f} GB.", float(free))
