"""Requests in flight that change in number while they run: the same texts, bits and states."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pitboss.engine import Engine, Generation, Request, Sampling
from pitboss.engine.architecture import architecture
from pitboss.engine.pressure import model_to_device
from pitboss.engine.runner import Runner
from pitboss.engine.state import Closed, Parked, Running
from pitboss.errors import OutOfMemory, PitbossError
from pitboss.models.loading import LoadedModel
from tests.engine import test_decode
from tests.engine.families import random_model, random_prompts
from tests.engine.test_decode import by_key

Prompts = list[tuple[int, ...]]
SAMPLING = Sampling(temperature=0.9, top_k=40, top_p=0.95, max_new_tokens=12)


def engine(loaded: LoadedModel, **settings: Any) -> Engine:
    return test_decode.engine(loaded, capture_layers=(0, 2), **settings)


class Told:
    """A pressure that says what it was told to say, then allows everything."""

    def __init__(self, answers: list[int | None]) -> None:
        self.answers, self.heard = iter(answers), list[int]()

    def __call__(self, slots: int) -> int:
        self.heard.append(slots)
        answer = next(self.answers, 10**6)
        return slots if answer is None else answer


def requests_of(prompts: Prompts, n: int) -> list[Request]:
    """Some end early by their text, some have their state captured, each four has a follower."""
    return [
        Request(
            f"r{i}",
            prompts[i % len(prompts)],
            f"n{i}",
            SAMPLING,
            capture=i % 3 == 0,
            ends=(lambda text: text.count("1") > 3) if i % 5 == 0 else None,
        )
        for i in range(n)
    ]


def followed(
    requests: list[Request], made: Engine
) -> tuple[dict[str, Generation], list[tuple[str, Any]]]:
    """All generations, and what `on_done` was told in order of keys."""
    told: list[tuple[str, Any]] = []

    def then(request: Request, generation: Generation) -> list[Request]:
        told.append((request.key, generation.states))
        if request.key.endswith("+") or int(request.key[1:]) % 4:
            return []
        return [replace(request, key=request.key + "+", noise=request.key + "+")]

    out = made.run(requests, then)
    assert len(out) == len(by_key(out)) == len(told)
    return by_key(out), sorted(told, key=lambda one: one[0])


def assert_same(mine: Any, theirs: Any) -> None:
    (out, told), (expected, expected_told) = mine, theirs
    assert out.keys() == expected.keys()
    for key, g in out.items():
        other = expected[key]
        assert (g.tokens, g.text, g.finish) == (other.tokens, other.text, other.finish)
        assert torch.equal(g.logits, other.logits)
    assert [key for key, _ in told] == [key for key, _ in expected_told]
    for (_, state), (_, other) in zip(told, expected_told, strict=True):
        assert (state is None) == (other is None)
        assert state is None or torch.equal(state, other)


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return random_model("llama")


@pytest.fixture(scope="module")
def undisturbed() -> dict[Any, Any]:
    """What each way of running gives without any pressure."""
    loaded, prompts = random_model("llama"), random_prompts()
    requests = requests_of(prompts, 20)
    return {
        prefixes: followed(requests, engine(loaded, prefixes=prefixes)) for prefixes in (None, 3)
    }


answers = st.lists(
    st.one_of(st.none(), st.none(), st.none(), st.integers(0, 20)), min_size=1, max_size=30
)


@pytest.mark.parametrize("prefixes", [None, 3])
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(answers=answers, micro_batches=st.integers(1, 3))
def test_no_sequence_of_pressures_changes_a_bit(
    prefixes: int | None, undisturbed: Any, answers: list[int | None], micro_batches: int
) -> None:
    loaded, prompts = random_model("llama"), random_prompts()
    told = Told(answers)
    made = engine(loaded, prefixes=prefixes, micro_batches=micro_batches, slots=16, pressure=told)
    assert_same(followed(requests_of(prompts, 20), made), undisturbed[prefixes])
    assert max(told.heard) <= 16 == sum(made.slots)


def test_every_family_comes_back_as_it_was(loaded: LoadedModel, prompts: Prompts) -> None:
    requests = requests_of(prompts, 20)
    before = followed(requests, engine(loaded))
    told = Told([None] * 5 + [3] + [None] * 7 + [0, 0, 0, 5] + [None] * 9)
    assert_same(followed(requests, engine(loaded, pressure=told)), before)
    assert told.heard[:19] == [16] * 6 + [3] * 8 + [0] * 3 + [5] * 2


def test_what_is_given_up_is_really_gone(llama: LoadedModel, prompts: Prompts) -> None:
    """While away: no keys, no buffers, no view on the weights, and the weights where they went."""
    moved: list[str] = []
    seen: dict[str, Any] = {}

    def pressure(slots: int) -> int:
        if not seen:
            assert isinstance(made.state, Running)
            seen["prefix"] = weakref.ref(made.state.prefix)
            seen["runners"] = [weakref.ref(runner) for runner in made.state.runners]
            seen["stacks"] = [weakref.ref(runner.stack) for runner in made.state.runners]
            seen["fused"] = weakref.ref(made.state.arch.blocks[0].qkv)
            return 0
        if not slots:
            gc.collect()
            moved.append("asked while away")
            gone = [seen["prefix"], seen["fused"], *seen["runners"], *seen["stacks"]]
            assert [ref() for ref in gone] == [None] * len(gone)
            assert made.state == Parked() and not made.slots
        return 16

    made = engine(llama, pressure=pressure, micro_batches=2)
    assert len(made.run(requests_of(prompts, 20))) == 20
    assert moved == ["asked while away"]


def test_weights_that_were_away_are_fused_again_without_a_change(
    loaded: LoadedModel, prompts: Prompts
) -> None:
    before = {name: weight.clone() for name, weight in loaded.model.named_parameters()}
    with torch.no_grad():  # what a move to another device and back does to views
        for weight in loaded.model.parameters():
            weight.data = weight.data.clone()
    model_to_device(loaded.model, loaded.device)
    fused = architecture(loaded.model).blocks[1].qkv
    attention = loaded.model.model.layers[1].self_attn
    assert isinstance(fused, torch.Tensor)
    assert fused.data_ptr() == attention.q_proj.weight.data_ptr()
    assert torch.equal(fused[-4:], attention.v_proj.weight[-4:])
    for name, weight in loaded.model.named_parameters():
        assert torch.equal(weight, before[name])


def full_when(made: Engine, too_many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device has no room for so many slots; as with CUDA, the error comes in the building."""
    build = Engine.build

    def limited(self: Engine, slots: int) -> None:
        build(self, slots)
        if slots >= too_many:
            raise torch.OutOfMemoryError("the device is full")

    monkeypatch.setattr(Engine, "build", limited)


def test_growth_without_room_is_taken_back(
    llama: LoadedModel, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = requests_of(prompts, 20)
    before = followed(requests, engine(llama))
    told = Told([None, 4, None, 16, None, 0, 16] + [None] * 999)
    made = engine(llama, pressure=told)
    full_when(made, 9, monkeypatch)
    assert_same(followed(requests, made), before)
    assert told.heard[:8] == [16, 16, 4, 4, 8, 8, 0, 8]
    assert sum(made.slots) == 8


def test_return_without_any_room_waits_on(
    llama: LoadedModel, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = requests_of(prompts, 20)
    before = followed(requests, engine(llama))
    full = [True]
    heard: list[int] = []

    def pressure(slots: int) -> int:
        heard.append(slots)
        if len(heard) == 1:
            return 0
        full[0] = len(heard) < 4
        return 16

    made = engine(llama, pressure=pressure)
    build = Engine.build

    def limited(self: Engine, slots: int) -> None:
        if full[0]:
            raise torch.OutOfMemoryError("the device is full")
        build(self, slots)

    monkeypatch.setattr(Engine, "build", limited)
    assert_same(followed(requests, made), before)
    assert heard[:5] == [16, 0, 0, 0, 16]


def test_an_engine_that_was_interrupted_while_away_comes_back_at_its_next_run(
    llama: LoadedModel, prompts: Prompts
) -> None:
    requests = requests_of(prompts, 20)
    before = followed(requests, engine(llama))
    answers: Iterator[Any] = iter([16, 16, 0, KeyboardInterrupt()])

    def pressure(slots: int) -> int:
        answer = next(answers, 16)
        if isinstance(answer, BaseException):
            raise answer
        return int(answer)

    made = engine(llama, pressure=pressure)
    with pytest.raises(KeyboardInterrupt):
        made.run(requests)
    assert made.state == Parked()
    assert_same(followed(requests, made), before)


def test_running_out_of_memory_in_a_step_is_still_the_callers_business(
    llama: LoadedModel, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = engine(llama, pressure=Told([5]))

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("the device is full")

    with monkeypatch.context() as patched:
        patched.setattr(Runner, "launch", full)
        with pytest.raises(OutOfMemory, match="5 slots"):
            made.run(requests_of(prompts, 9))
    assert len(made.run(requests_of(prompts, 9))) == 12 - 3


def test_a_closed_engine_holds_nothing_and_runs_nothing(
    llama: LoadedModel, prompts: Prompts
) -> None:
    made = engine(llama)
    before = made.run(requests_of(prompts, 3))
    assert isinstance(made.state, Running)
    runner = weakref.ref(made.state.runners[0])
    made.close()
    assert made.state == Closed() and runner() is None and not made.slots
    with pytest.raises(PitbossError, match="the engine is closed"):
        made.run(requests_of(prompts, 3))
    again = by_key(engine(llama).run(requests_of(prompts, 3)))
    assert {g.key: g.tokens for g in before} == {key: g.tokens for key, g in again.items()}
