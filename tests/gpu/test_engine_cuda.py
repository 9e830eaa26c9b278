"""The fast path is right: against transformers without a cache, and against the plain path."""

import copy
from dataclasses import replace

import pytest
import torch

from bench.shapes import random_llama_8b
from pitboss.engine import Sampling
from tests.gpu.small import FAMILIES, error, reference, requests_of, run, sae_of, small

GREEDY = Sampling(temperature=0, max_new_tokens=16)


@pytest.mark.parametrize("prefixes", [2, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_float32_requests_equal_the_uncached_computation(family: str, prefixes: int | None) -> None:
    loaded = small(family)
    requests = requests_of(loaded, 24, GREEDY)
    out = run(loaded, requests, prefixes=prefixes)
    for request in requests:
        g = out[request.key]
        expected = reference(loaded, request, g.tokens)
        assert error(g.logits, expected) < 1e-5
        assert expected.argmax(-1).tolist()[: len(g.tokens)] == list(g.tokens)


@pytest.mark.parametrize("positions", ["prompt_last", "prompt_last_and_generated"])
@pytest.mark.parametrize("mode", ["delta", "reconstruct", "reconstruct_only"])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_every_mode_is_that_of_the_plain_path(family: str, mode: str, positions: str) -> None:
    loaded = small(family)
    saes = {i: sae_of(i, 256) for i in range(4)}
    requests = requests_of(loaded, 12, GREEDY, mode=mode, positions=positions)
    requests += [replace(r, key=f"{r.key}/two", patches=r.patches * 2) for r in requests]
    settings = {"saes": saes, "patch_slots": 2, "capture_layers": (0, 3)}
    requests = [replace(request, capture=True) for request in requests]
    fast, plain = (run(loaded, requests, fast=fast, **settings) for fast in (True, False))
    for key, g in fast.items():
        assert g.tokens == plain[key].tokens
        assert error(g.logits, plain[key].logits) < 1e-5
        assert error(g.states, plain[key].states) < 1e-5


def test_a_patch_to_the_own_value_changes_no_bit() -> None:
    loaded = small("llama", torch.bfloat16)
    requests = requests_of(loaded, 16, GREEDY)
    own = [replace(r, patches=(replace(r.patches[0], value=None),)) for r in requests]
    none = [replace(r, patches=()) for r in requests]
    mine, theirs = run(loaded, own), run(loaded, none)
    for key, g in mine.items():
        assert g.logits is not None and theirs[key].logits is not None
        assert torch.equal(g.logits, theirs[key].logits)


def test_bfloat16_8b_requests_are_as_close_to_float32_as_transformers_is() -> None:
    """bfloat16 alone moves the logits of 32 random blocks by several percent, in any program."""
    eight_b = random_llama_8b()
    requests = requests_of(eight_b, 8, Sampling(temperature=0, max_new_tokens=8))
    out = run(eight_b, requests)
    theirs = {r.key: reference(eight_b, r, out[r.key].tokens) for r in requests}
    exact = replace(eight_b, model=copy.deepcopy(eight_b.model).float())
    ours_off, theirs_off = 0.0, 0.0
    for request in requests:
        expected = reference(exact, request, out[request.key].tokens)
        ours_off += error(out[request.key].logits, expected) / len(requests)
        theirs_off += error(theirs[request.key][: len(expected)], expected) / len(requests)
    print(f"8B bfloat16 against float32: engine {ours_off:.4f}, transformers {theirs_off:.4f}")
    assert ours_off < 1.3 * theirs_off
