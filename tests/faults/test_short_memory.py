"""Out of memory in the middle of a real chunk: half the rows, the same bytes."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from pitboss.engine.runner import Runner
from pitboss.errors import OutOfMemory
from pitboss.experiments.patching.experiment import Patching
from tasks import model
from tests.experiments.banks import patching_of
from tests.faults.patched import finished, prepare, trial_files


def test_half_the_rows_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plenty, short = prepare(tmp_path / "plenty"), prepare(tmp_path / "short")
    units = patching_of(plenty).trial_units()[:3]
    held = model.hold(plenty.study, "llama")
    for unit in units:
        model.carry_out_here(plenty, unit)

    launch, left = Runner.launch, 10

    def full_once(self: Runner) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise torch.OutOfMemoryError("no room")
        launch(self)

    monkeypatch.setattr(Runner, "launch", full_once)
    with pytest.raises(OutOfMemory, match="ran out of memory with 32 slots"):
        model.carry_out_here(short, units[0])
    assert finished(short.store) == {} and not list((short.store.path / "tmp").iterdir())
    for unit in units:  # what the task's retry does, and the tasks after it
        model.carry_out_here(short, unit)
    assert model.hold(short.study, "llama") is held
    facts = [part.record["facts"]["slots"] for part in finished(short.store).values()]
    assert facts == [16, 16, 16]
    assert trial_files(short.store) == trial_files(plenty.store)


def test_an_error_that_prefect_keeps_keeps_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare(tmp_path)
    made: list[Any] = []

    def fails(*_: object) -> Any:
        large = torch.zeros(100)
        made.append(weakref.ref(large))
        raise ValueError("a unit that fails while it holds something")

    monkeypatch.setattr(Patching, "run", fails)
    with pytest.raises(ValueError, match="a unit that fails") as kept:
        model.carry_out_here(plan, patching_of(plan).trial_units()[0])
    assert kept.value.__traceback__ is not None and made[0]() is None
