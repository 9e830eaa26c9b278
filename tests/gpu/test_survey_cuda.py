"""The survey of a real GPU: a process that grabs memory is seen, and its size is about right."""

import os
import subprocess
import sys

import pytest
import torch

from pitboss.floor.memory.survey import OUR_VARIABLE, Gpu, survey

pytest.importorskip("pynvml")
pytest.importorskip("psutil")

SIZE = 3_000_000_000
GRAB = f"""
import sys, torch
held = torch.ones({SIZE}, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print("held", flush=True)
sys.stdin.readline()
"""


def seen() -> Gpu:
    """The GPU that torch calls cuda:0, found by its card and not by its number."""
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    return next(gpu for gpu in survey().gpus if gpu.uuid and gpu.uuid.endswith(uuid))


def test_a_process_that_takes_memory_is_seen() -> None:
    before = seen()
    assert 0 <= before.used <= before.total and before.free > SIZE
    process = subprocess.Popen(
        [sys.executable, "-c", GRAB], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, OUR_VARIABLE: "test"},
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        during = seen()
    finally:
        process.communicate("\n", timeout=60)
    print(before, during, sep="\n")
    assert SIZE <= during.used - before.used <= 2 * SIZE
    assert during.temperature is None or 10 < during.temperature < 110
    # Inside a container the driver may give other numbers, or list no process at all.
    tenant = next((t for t in during.tenants if t.pid == process.pid), None)
    if tenant is None:
        assert during.unattributed >= SIZE or len(during.tenants) > len(before.tenants)
        return
    assert tenant.ours and tenant.user is not None
    assert tenant.command is not None and tenant.command.startswith("python")
    assert tenant.memory is None or tenant.memory >= SIZE
