"""A request's bits are its own: alone, in any batch and slot, with fewer slots, after a restart.

With CUDA graphs on, in the dtype that is used (bfloat16) and in float32.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.shapes import random_llama_8b
from pitboss.engine import Generation, Sampling
from pitboss.models.loading import LoadedModel
from tests.gpu.small import FAMILIES, requests_of, run, small

SAMPLED = Sampling(0.9, 50, 0.9, 20)


def same_bits(loaded: LoadedModel, prefixes: int | None, n: int, width: int = 64) -> None:
    requests = requests_of(loaded, n, SAMPLED)
    settings = {"prefixes": prefixes, "width": width}
    together = run(loaded, requests, **settings)
    others = [
        run(loaded, requests[::-1], slots=5, **settings),
        run(loaded, requests[3:] + requests[:3], slots=width + 7, micro_batches=2, **settings),
        run(loaded, requests[:9], micro_batches=1, **settings),
        *(run(loaded, [request], **settings) for request in requests[:3]),
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


def wide() -> dict[str, str]:
    """Digest of what a model makes whose sums are as wide as those of an 8B model."""
    loaded = small("llama", torch.bfloat16, hidden_size=4096, head_dim=32)
    requests = requests_of(loaded, 50, SAMPLED)
    return {
        "forward": digest(run(loaded, requests)),
        "back": digest(run(loaded, requests[::-1], slots=20)),
    }


def elsewhere(**env: str) -> dict[str, str]:
    """The same from a process of its own."""
    code = "import json; from tests.gpu.test_independence import wide; print(json.dumps(wide()))"
    made = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(made.stdout.splitlines()[-1])
    return found


def test_a_restart_changes_no_bit() -> None:
    here = wide()
    assert here["forward"] == here["back"]
    assert elsewhere() == here


def test_nor_does_what_is_measured_while_compiling(tmp_path: Path) -> None:
    """Another GPU of the same kind may find another kernel the fastest; here the slowest wins."""
    empty = {
        "PITBOSS_COMPILE_CACHE": str(tmp_path),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"),
        "TRITON_CACHE_DIR": str(tmp_path / "triton"),
        "TORCHINDUCTOR_DISTORT_BENCHMARKING_RESULT": "inverse",
    }
    assert elsewhere(**empty) == wide()


def digest(out: dict[str, Generation]) -> str:
    whole = hashlib.sha256()
    for key in sorted(out):
        logits = out[key].logits
        assert logits is not None
        whole.update(f"{key}{out[key].tokens}".encode() + logits.numpy().tobytes())
    return whole.hexdigest()
