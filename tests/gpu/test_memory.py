"""The memory model against what the device says is gone, in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = """
import json, sys
import torch
before = torch.cuda.mem_get_info()[0]
from bench.shapes import load_shape
from pitboss.engine import Engine, EngineConfig
from pitboss.engine.memory import need
from tests.gpu.test_memory import requests
case = json.loads(sys.argv[1])
loaded = load_shape(case.pop("shape"), torch.device("cuda"))
config = EngineConfig(**case)
engine = Engine(loaded, config, seed=1)
engine.run(requests(loaded, case))
taken = before - torch.cuda.mem_get_info()[0]
import dataclasses
n = sum(p.numel() for p in loaded.model.parameters())
spec = dataclasses.replace(loaded.spec, n_params=n)
parts = need(spec, config, loaded.dtype)
print(json.dumps({"taken": taken, "reserved": torch.cuda.memory_reserved(), "need": parts.total,
    "parts": parts._asdict()}))
"""
CASES = {
    "exp2": {"shape": "llama-8b", "slots": None, "width": 1024, "prompt_capacity": 150,
             "token_capacity": 100, "prefixes": 2},
    "games": {"shape": "llama-8b", "slots": 100, "width": 256, "prompt_capacity": 400,
              "token_capacity": 300},
    "gemma": {"shape": "gemma-9b", "slots": 300, "width": 512, "prompt_capacity": 150,
              "token_capacity": 100, "prefixes": 2},
}  # fmt: skip


def requests(loaded, case):  # type: ignore[no-untyped-def]
    """A few requests that touch everything: prefill, all slots, the sampler."""
    from pitboss.engine import Request, Sampling

    sampling = Sampling(0.7, 50, 0.9, 3)
    n = case["prompt_capacity"]
    prompts = [tuple(range(10 + i, 10 + i + n)) for i in range(case.get("prefixes") or 40)]
    return [Request(f"{i}", prompts[i % len(prompts)], f"{i}", sampling) for i in range(300)]


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_within_ten_percent_of_what_the_device_lost(case: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(CASES[case])],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    print(case, found)
    assert 0.9 < found["need"] / found["taken"] < 1.1
