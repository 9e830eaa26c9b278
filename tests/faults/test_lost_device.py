"""Errors after which a process has no device any more: it ends, and others do its work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deployments.settings import ROOT
from pitboss.errors import OutOfMemory
from tasks.policies import is_device_lost, is_out_of_memory
from tasks.worker import EXIT_DEVICE_LOST
from tests.faults.patched import STUDY, prepare

# A chunk whose device is lost in the middle, in a process that a pool's worker started.
LOST = """
import sys
from pathlib import Path
import torch
from pitboss.engine.runner import Runner
from pitboss.experiments.registry import load_study, plan_of
from pitboss.experiments.runtime.study import open_store
from pitboss.floor.locks.claims import Queue
from tasks import model

def launch(self):
    raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

Runner.launch = launch
study = load_study(Path(sys.argv[1]))
plan = plan_of(study, open_store(study, Path(sys.argv[2])))
with Queue(plan.store, next(plan["patching"].stages("llama"))).take() as claim:
    try:
        model.carry_out_here(plan, claim.unit)
    except RuntimeError as error:
        sys.exit(f"raised {error}")
"""


def lose(folder: Path, pool: str) -> "subprocess.CompletedProcess[str]":
    prepare(folder)
    env = os.environ | {"PYTHONPATH": str(ROOT), "PITBOSS_POOL": pool, "PITBOSS_HOME": str(folder)}
    command = [sys.executable, "-c", LOST, str(STUDY), str(folder)]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)


def test_a_workers_process_ends_at_once(tmp_path: Path) -> None:
    done = lose(tmp_path, "gpu-0")
    assert done.returncode == EXIT_DEVICE_LOST, done.stderr[-2000:]
    assert "cannot use its device any more" in done.stderr and "illegal memory" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: device-side assert triggered",
        "CUDA error: unspecified launch failure",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(...)`",
    ],
)
def test_what_ends_a_process(text: str) -> None:
    try:
        try:
            raise torch.AcceleratorError(text)
        except RuntimeError as error:
            raise ValueError("while cleaning up") from error
    except ValueError as behind:
        assert is_device_lost(behind)
    assert not is_out_of_memory(torch.AcceleratorError(text))


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemory("no room"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_short_memory_ends_no_process(error: Exception) -> None:
    assert is_out_of_memory(error) and not is_device_lost(error)
