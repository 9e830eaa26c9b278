"""What an engine that is away holds on to: nothing that was made for it, whoever looked at it."""

import gc
from collections.abc import Callable

import pytest
import torch

from pitboss.engine import Engine, Request
from pitboss.engine.runner import Runner
from pitboss.errors import OutOfMemory
from pitboss.models.loading import LoadedModel
from tests.engine.held import Parks, held
from tests.engine.test_decode import engine, sampled

Prompts = list[tuple[int, ...]]


def without_engine(loaded: LoadedModel) -> int:
    """Bytes that are held once an engine has come and gone: weights, laid side by side."""
    engine(loaded)
    gc.collect()
    return held()


def ended(request: Request, _: object) -> list[Request]:
    return []


@pytest.mark.parametrize("fast", [None, False], ids=["default", "plain"])
@pytest.mark.parametrize("prefixes", [None, 3])
@pytest.mark.parametrize("on_done", [None, ended], ids=["alone", "followed"])
def test_an_engine_that_waits_holds_no_tensor_of_its_own(
    loaded: LoadedModel,
    prompts: Prompts,
    prefixes: int | None,
    fast: bool | None,
    on_done: Callable[..., list[Request]] | None,
) -> None:
    """Away before the first step, after some, twice in a row, and near the end."""
    requests = sampled(prompts, 30)
    settings = {"prefixes": prefixes, "fast": fast, "keep_logits": False, "micro_batches": 2}
    before = without_engine(loaded)
    pressure = Parks(1, 8, 9, 20)
    made = engine(loaded, **settings, pressure=pressure)
    assert held() > before + 100_000
    assert len(made.run(requests, on_done)) == 30
    assert pressure.away == [before] * 4


class Broken(Exception):
    pass


def broken(*_: object) -> None:
    raise Broken


def full(*_: object) -> None:
    raise torch.OutOfMemoryError("no room")


@pytest.mark.parametrize(
    ("error", "where", "expected"),
    [
        (full, (Runner, "launch"), OutOfMemory),
        (full, (Runner, "_step"), OutOfMemory),
        (broken, (Runner, "collect"), Broken),
        (broken, (Engine, "_checked"), Broken),
    ],
)
def test_an_error_that_is_kept_keeps_no_memory(
    prompts: Prompts,
    loaded: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[..., None],
    where: tuple[type, str],
    expected: type[Exception],
) -> None:
    """Who tries again has the error of the last time at hand, and with it all frames it left."""
    before = without_engine(loaded)
    pressure = Parks(9)
    made = engine(loaded, keep_logits=False, micro_batches=2, pressure=pressure)
    with monkeypatch.context() as patched:
        patched.setattr(*where, error)
        with pytest.raises(expected) as kept:
            made.run(sampled(prompts, 20), lambda *_: [])
    pressure.asked = 0
    assert len(made.run(sampled(prompts, 20))) == 20
    assert pressure.away == [before]
    assert kept.value.__traceback__ is not None
