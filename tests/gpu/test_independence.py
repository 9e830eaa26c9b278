"""A row's bits are its own: alone, in any batch, slot and gang, with fewer slots, after a restart.

With CUDA graphs on, in the dtype that is used (bfloat16) and in float32.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.shapes import random_llama_8b
from pitboss.engine import Generation, Sampling
from pitboss.models.loading import LoadedModel
from tests.gpu.small import FAMILIES, rows_of, run, small

SAMPLED = Sampling(0.9, 50, 0.9, 20)


def same_bits(loaded: LoadedModel, prefixes: int | None, n: int, width: int = 64) -> None:
    rows = rows_of(loaded, n, SAMPLED)
    settings = {"prefixes": prefixes, "width": width}
    together = run(loaded, rows, **settings)
    others = [
        run(loaded, rows[::-1], slots=5, **settings),
        run(loaded, rows[3:] + rows[:3], slots=width + 7, gangs=2, **settings),
        run(loaded, rows[:9], gangs=1, **settings),
        *(run(loaded, [row], **settings) for row in rows[:3]),
    ]
    assert len({g.tokens for g in together.values()}) > n // 2  # really sampled
    for other in others:
        for key, g in other.items():
            assert g.tokens == together[key].tokens
            assert g.logits is not None and together[key].logits is not None
            assert torch.equal(g.logits, together[key].logits)


@pytest.mark.parametrize("prefixes", [2, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_company_and_slots_change_no_bit(family: str, prefixes: int | None) -> None:
    same_bits(small(family, torch.bfloat16), prefixes, 100)


def test_nor_do_they_in_float32() -> None:
    same_bits(small("gemma2"), 2, 100)


@pytest.mark.parametrize("prefixes", [2, None])
def test_nor_do_they_at_the_size_of_an_8b_model(prefixes: int | None) -> None:
    same_bits(random_llama_8b(), prefixes, 140, width=128)


def test_a_restart_changes_no_bit() -> None:
    loaded = small("llama", torch.bfloat16)
    here = digest(run(loaded, rows_of(loaded, 50, SAMPLED)))
    code = (
        "from tests.gpu.test_independence import *\n"
        "loaded = small('llama', torch.bfloat16)\n"
        "print(digest(run(loaded, rows_of(loaded, 50, SAMPLED)[::-1], slots=20)))"
    )
    root = Path(__file__).parents[2]
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert there.stdout.split()[-1] == here


def digest(out: dict[str, Generation]) -> str:
    whole = hashlib.sha256()
    for key in sorted(out):
        logits = out[key].logits
        assert logits is not None
        whole.update(f"{key}{out[key].tokens}".encode() + logits.numpy().tobytes())
    return whole.hexdigest()
