"""Out of memory in the middle of a real chunk: half the rows, the same bytes."""

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from pitboss.engine.runner import Runner
from pitboss.errors import OutOfMemory
from pitboss.experiments.patching import experiment as patching
from tasks import model
from tests.faults.patched import finished, prepare, trial_files


def test_half_the_rows_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, plenty = prepare(tmp_path / "plenty")
    _, short = prepare(tmp_path / "short")
    units = patching.all_units(study, plenty)[:3]
    held = model.hold(study, "llama")
    for unit in units:
        model.carry_out(patching.run, study, "llama", unit, plenty)

    launch, left = Runner.launch, 10

    def full_once(self: Runner) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise torch.OutOfMemoryError("no room")
        launch(self)

    monkeypatch.setattr(Runner, "launch", full_once)
    with pytest.raises(OutOfMemory, match="ran out of memory with 32 slots"):
        model.carry_out(patching.run, study, "llama", units[0], short)
    assert finished(short) == {} and not list((short.path / "tmp").iterdir())
    for unit in units:  # what the task's retry does, and the tasks after it
        model.carry_out(patching.run, study, "llama", unit, short)
    assert model.hold(study, "llama") is held
    facts = [part.record["facts"]["slots"] for part in finished(short).values()]
    assert facts == [16, 16, 16]
    assert trial_files(short) == trial_files(plenty)


def test_an_error_that_prefect_keeps_keeps_no_memory(tmp_path: Path) -> None:
    study, store = prepare(tmp_path)
    made: list[Any] = []

    def run(*_: object) -> Any:
        large = torch.zeros(100)
        made.append(weakref.ref(large))
        raise ValueError("a unit that fails while it holds something")

    with pytest.raises(ValueError, match="a unit that fails") as kept:
        model.carry_out(run, study, "llama", patching.all_units(study, store)[0], store)
    assert kept.value.__traceback__ is not None and made[0]() is None
