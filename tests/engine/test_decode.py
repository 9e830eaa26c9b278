"""Unpatched requests against transformers, and against themselves in other company."""

from typing import Any

import pytest
import torch

from pitboss.engine import Engine, EngineConfig, Generation, Request, Sampling
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.pressure import Pressure
from pitboss.errors import BadInput, OutOfMemory
from pitboss.models.loading import LoadedModel

Prompts = list[tuple[int, ...]]


def engine(loaded: LoadedModel, pressure: Pressure | None = None, **sizes: Any) -> Engine:
    defaults: dict[str, Any] = {
        "width": 16,
        "prompt_capacity": 70,  # what the longest prompt needs; prefill works on 128
        "token_capacity": 24,
        "keep_logits": True,
    }
    return Engine(loaded, EngineConfig(**(defaults | sizes)), seed=7, pressure=pressure)


def greedy(prompts: Prompts, n: int) -> list[Request]:
    sampling = Sampling(temperature=0, max_new_tokens=20)
    return [
        Request(f"request {i}", prompts[i % len(prompts)], f"noise {i}", sampling, capture=True)
        for i in range(n)
    ]


def sampled(prompts: Prompts, n: int) -> list[Request]:
    sampling = Sampling(temperature=0.9, top_k=40, top_p=0.95, max_new_tokens=20)
    return [Request(f"request {i}", prompts[i % len(prompts)], f"n{i}", sampling) for i in range(n)]


def by_key(generations: list[Generation]) -> dict[str, Generation]:
    return {g.key: g for g in generations}


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("fast", [None, False], ids=["default", "plain"])
@pytest.mark.parametrize("prefixes", [None, 3])
def test_logits_states_and_greedy_texts_equal_transformers(
    loaded: LoadedModel, prompts: Prompts, prefixes: int | None, fast: bool | None
) -> None:
    requests = greedy(prompts, 20)
    made = engine(loaded, prefixes=prefixes, capture_layers=(0, 1, 2), fast=fast)
    out = by_key(made.run(requests))
    for request in requests[:6]:
        g = out[request.key]
        n = len(request.prompt)
        ids = torch.tensor([request.prompt + g.tokens])
        reference = loaded.model(ids, output_hidden_states=True)
        assert g.logits is not None and g.states is not None
        assert relative(g.logits, reference.logits[0, n - 1 : n - 1 + len(g.logits)]) < 1e-5
        hidden = torch.stack([reference.hidden_states[i + 1][0, n - 1] for i in range(3)])
        assert relative(g.states, hidden) < 1e-5
        text = loaded.model.generate(
            torch.tensor([request.prompt]), do_sample=False, max_new_tokens=20, eos_token_id=2
        )[0, n:].tolist()
        assert list(g.tokens) == (text[: text.index(2)] if 2 in text else text)


@pytest.mark.parametrize("prefixes", [None, 3])
def test_a_request_is_the_same_bits_alone_in_any_batch_and_with_any_number_of_slots(
    loaded: LoadedModel, prompts: Prompts, prefixes: int | None
) -> None:
    requests = sampled(prompts, 40)
    made = engine(loaded, prefixes=prefixes)
    together = by_key(made.run(requests))
    few = by_key(engine(loaded, prefixes=prefixes, slots=3).run(requests[::-1]))
    batches = by_key(engine(loaded, prefixes=prefixes, slots=11, micro_batches=3).run(requests))
    alone = by_key([g for request in requests[:8] for g in made.run([request])])
    assert len({g.tokens for g in together.values()}) > 30  # really sampled
    for other in (few, batches, alone):
        for key, g in other.items():
            assert g.tokens == together[key].tokens
            assert g.logits is not None and together[key].logits is not None
            assert torch.equal(g.logits, together[key].logits)


@pytest.mark.parametrize("prefixes", [None, 3])
def test_nor_do_its_bits_depend_on_how_far_its_neighbours_have_come(
    loaded: LoadedModel, prefixes: int | None
) -> None:
    generator = torch.Generator().manual_seed(4)
    long, short = (
        tuple(torch.randint(3, 300, (n,), generator=generator).tolist()) for n in (190, 30)
    )
    flat = Sampling(temperature=2.0, top_k=0, max_new_tokens=140, min_new_tokens=140)
    brief = Sampling(temperature=2.0, top_k=0, max_new_tokens=12)
    requests = [Request("long", long, "x", flat)]
    requests += [Request(f"short {i}", short, f"{i}", brief) for i in range(9)]

    def run(slots: int, requests: list[Request]) -> dict[str, Generation]:
        made = engine(
            loaded, width=8, slots=slots, prefixes=prefixes, prompt_capacity=190, token_capacity=140
        )
        return by_key(made.run(requests))

    together, apart = run(2, requests), run(1, requests[::-1])
    for key, g in apart.items():
        assert g.logits is not None and together[key].logits is not None
        assert torch.equal(g.logits, together[key].logits)


def test_requests_with_the_same_noise_are_paired_and_other_noise_differs(
    loaded: LoadedModel, prompts: Prompts
) -> None:
    s = Sampling(temperature=1.0, top_k=0, max_new_tokens=20)
    requests = [
        Request("a", prompts[0], "x", s),
        Request("b", prompts[0], "x", s),
        Request("c", prompts[0], "y", s),
    ]
    out = by_key(engine(loaded).run(requests))
    assert out["a"].tokens == out["b"].tokens != out["c"].tokens


def test_requests_that_follow_from_others_are_run(loaded: LoadedModel, prompts: Prompts) -> None:
    s = Sampling(max_new_tokens=3)

    def then(request: Request, generation: Generation) -> list[Request]:
        depth = request.key.count("+")
        return [Request(request.key + "+", prompts[depth], request.key, s)] if depth < 4 else []

    out = engine(loaded).run([Request(f"g{i}", prompts[0], f"g{i}", s) for i in range(20)], then)
    assert len(out) == 20 * 5


@pytest.mark.parametrize("prefixes", [None, 3])
def test_the_default_path_computes_what_the_plain_path_computes(
    loaded: LoadedModel, prompts: Prompts, prefixes: int | None
) -> None:
    # Requests end at different times, so that slots are refilled with prompts of other lengths.
    requests = [
        Request(
            f"{i}", prompts[i % 6], f"{i}", Sampling(temperature=0, max_new_tokens=1 + 5 * i % 60)
        )
        for i in range(30)
    ]
    settings = {"prefixes": prefixes, "token_capacity": 60, "slots": 13}
    default, plain = (
        by_key(engine(loaded, fast=fast, **settings).run(requests)) for fast in (None, False)
    )
    for key, g in plain.items():
        assert g.logits is not None and default[key].logits is not None
        assert g.tokens == default[key].tokens
        assert relative(default[key].logits, g.logits) < 1e-5


def test_a_request_ends_when_its_reader_is_sure(loaded: LoadedModel, prompts: Prompts) -> None:
    s = Sampling(temperature=1.0, max_new_tokens=20)
    request = Request("r", prompts[0], "x", s, ends=lambda text: len(text.split()) == 2)
    (g,) = engine(loaded).run([request])
    assert g.finish == "decided" and len(g.tokens) == 2


def test_the_end_token_waits_for_the_minimum(loaded: LoadedModel, prompts: Prompts) -> None:
    flat = Sampling(temperature=50.0, top_k=0, max_new_tokens=24)
    held = Sampling(temperature=50.0, top_k=0, max_new_tokens=24, min_new_tokens=12)
    requests = [
        Request(f"{n}/{i}", prompts[0], f"{i}", s)
        for n, s in (("flat", flat), ("held", held))
        for i in range(300)
    ]
    out = engine(loaded).run(requests)
    early = {
        n: sum(g.key.startswith(n) and g.finish == "eos" and len(g.tokens) < 12 for g in out)
        for n in ("flat", "held")
    }
    assert early["flat"] > 0 and early["held"] == 0


def test_requests_that_do_not_fit_are_refused(loaded: LoadedModel, prompts: Prompts) -> None:
    made = engine(loaded)
    s = Sampling(max_new_tokens=5)
    with pytest.raises(BadInput, match="tokens"):
        made.run([Request("long", (3,) * 129, "x", s)])
    with pytest.raises(BadInput, match="max_new_tokens"):
        made.run([Request("many", (3,), "x", Sampling(max_new_tokens=25))])
    with pytest.raises(BadInput, match="same key"):
        made.run([Request("r", (3,), "x", s), Request("r", (3,), "y", s)])
    with pytest.raises(BadInput, match="slots = 17 is above 16"):
        engine(loaded, slots=17)
    with pytest.raises(BadInput, match="width = 0 is below 1"):
        engine(loaded, width=0)
    with pytest.raises(BadInput, match="layer 4 cannot be captured"):
        engine(loaded, capture_layers=(4,))
    with pytest.raises(BadInput, match="top_p"):
        Sampling(top_p=0)


def test_running_out_of_memory_is_named_as_such_and_the_engine_survives(
    loaded: LoadedModel, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engine(loaded)
    requests = sampled(prompts, 5)
    whole = by_key(made.run(requests))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("the device is full")

    with monkeypatch.context() as patched:
        patched.setattr(PrefixStore, "fill", full)
        with pytest.raises(OutOfMemory, match="16 slots"):
            made.run(requests)
    assert {k: g.tokens for k, g in by_key(made.run(requests)).items()} == {
        k: g.tokens for k, g in whole.items()
    }
