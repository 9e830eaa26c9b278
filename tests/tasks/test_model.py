"""Short memory: half the rows, for this unit and the following, down to one."""

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

    experiment, kind, slug = "games", "games", "llama/0001"
    at_once: int | None = None

    def __init__(self, key: str) -> None:
        self.key = key

    def ref(self, store: object) -> None:
        return None


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> model.Held:
    lane = cast(Any, SimpleNamespace(width=64, width_of={"games": 64, "pathway": 16}.__getitem__))
    made = model.Held(lane)
    monkeypatch.setattr(model, "hold", lambda study, alias: made)
    return made


@pytest.mark.parametrize("error", [OutOfMemory, torch.cuda.OutOfMemoryError])
def test_rows_are_halved_until_they_fit_and_stay_so(
    prefect_api: object, held: model.Held, error: type[Exception]
) -> None:
    tried: list[int] = []

    def run(lane: Any, store: Any, unit: Any, slots: int | None) -> PartRef:
        assert slots is not None
        tried.append(slots)
        if slots > 16:
            raise error("64 rows do not fit")
        return PartRef("games", unit.key, "x", 1, "0")

    @task(**QUICK)
    def part(study: Any, unit: SomeUnit) -> dict[str, Any]:
        return model.carry_out(run, study, "llama", cast(Any, unit), cast(Any, None))

    @flow
    def two_parts() -> list[str]:
        study = SimpleNamespace(name=f"halving-{error.__name__}")
        return [part(study, SomeUnit(key))["key"] for key in ("a", "b")]

    assert two_parts() == ["a", "b"]
    assert tried == [64, 32, 16, 16]


def test_one_row_that_does_not_fit_fails_at_once(held: model.Held) -> None:
    with pytest.raises(PitbossError, match="One row alone does not fit") as refused:
        held.halve(cast(Any, SomeUnit("a")), 1, OutOfMemory("full"))
    assert not policies.is_out_of_memory(refused.value)


def test_an_experiment_of_less_width_is_halved_from_there(held: model.Held) -> None:
    unit = cast(Any, SomeUnit("a"))
    assert held.slots_for(unit) == 64
    unit.experiment = "pathway"
    assert held.slots_for(unit) == 16
    held.halve(unit, held.slots_for(unit), OutOfMemory("full"))
    assert held.slots_for(unit) == 8
