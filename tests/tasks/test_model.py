"""Short memory: half the requests, for this unit and the following, down to one."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from prefect import flow, task

from pitboss.errors import OutOfMemory, PitbossError
from pitboss.store import PartRef
from tasks import model, policies

QUICK = {**policies.PART, "retry_delay_seconds": 0}


class SomeUnit:
    """A unit that is not done yet."""

    experiment, kind, slug, model = "games", "games", "llama/0001", "llama"
    at_once: int | None = None

    def __init__(self, key: str) -> None:
        self.key, self.done = key, False

    def ref(self, store: object) -> PartRef | None:
        return PartRef("games", self.key, "x", 1, "0") if self.done else None

    def complete(self, store: object, outcome: object, began: float, worker: str) -> None:
        self.done = True


class SomePlan:
    """A plan whose one experiment is carried out by a function."""

    store = None

    def __init__(self, name: str, run: Callable[[int], None] = lambda slots: None) -> None:
        self.study = SimpleNamespace(name=name)
        self._run = run

    def of_unit(self, unit: object) -> Any:
        settings = SimpleNamespace(own_prompts=False, elastic=False)
        run = lambda context, unit, slots: self._run(slots)  # noqa: E731
        return SimpleNamespace(settings=settings, parts=lambda unit: [unit], run=run)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> model.Held:
    made = model.Held(cast(Any, SimpleNamespace(width_of=lambda own_prompts: 64)))
    monkeypatch.setattr(model, "hold", lambda study, alias: made)
    return made


@pytest.mark.parametrize("error", [OutOfMemory, torch.cuda.OutOfMemoryError])
def test_requests_are_halved_until_they_fit_and_stay_so(
    prefect_api: object, held: model.Held, error: type[Exception]
) -> None:
    tried: list[int] = []

    def run(slots: int) -> None:
        tried.append(slots)
        if slots > 16:
            raise error("64 do not fit")

    @task(**QUICK)
    def part(plan: Any, unit: SomeUnit) -> dict[str, Any]:
        return model.carry_out_here(plan, cast(Any, unit))

    @flow
    def two_parts() -> list[str]:
        plan = SomePlan(f"halving-{error.__name__}", run)
        return [part(plan, SomeUnit(key))["key"] for key in ("a", "b")]

    assert two_parts() == ["a", "b"]
    assert tried == [64, 32, 16, 16]


def test_one_request_that_does_not_fit_fails_at_once(held: model.Held) -> None:
    with pytest.raises(PitbossError, match="One request alone does not fit") as refused:
        held.halve(cast(Any, SomeUnit("a")), 64, 1, OutOfMemory("full"))
    assert not policies.is_out_of_memory(refused.value)


def test_an_experiment_of_less_width_is_halved_from_there(held: model.Held) -> None:
    unit = cast(Any, SomeUnit("a"))
    assert held.slots_for(unit, 64) == 64
    unit.experiment = "pathway"
    assert held.slots_for(unit, 16) == 16
    held.halve(unit, 16, held.slots_for(unit, 16), OutOfMemory("full"))
    assert held.slots_for(unit, 16) == 8
