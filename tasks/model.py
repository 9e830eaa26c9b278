"""The model of this flow run's process: loaded once, shared by all its tasks."""

import gc
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from prefect import task

from pitboss.engine.pressure import forget_frames
from pitboss.errors import PitbossError
from pitboss.experiments.lane import Lane, open_lane
from pitboss.experiments.units import Unit
from pitboss.floor.fitted import Fitted
from pitboss.floor.watcher import while_parked
from pitboss.store import PartRef, Store
from pitboss.studies.model import Study
from tasks.lane import (
    GivenUp,
    end_process,
    give_up_if_asked,
    one_load_at_a_time,
    pool_name,
    state_folder,
)
from tasks.policies import STEP, is_device_lost, is_out_of_memory

# Experiments whose lanes join and leave.
ELASTIC = ("patching", "persistent")
Run = Callable[[Lane, Store, Unit, int | None], PartRef]


class DoesNotFit(PitbossError):
    """One row alone does not fit into the device's memory; another device may have more."""


class Held:
    """A lane and how many rows it works on at once.

    Short memory halves the rows of an experiment, for the next lanes and runs on such a GPU too;
    later it is tried with more again. Results do not depend on their number.
    """

    def __init__(self, lane: Lane, fitted: Fitted | None = None) -> None:
        self.lane = lane
        self.fitted = fitted or Fitted(None, "", "")

    def slots_for(self, unit: Unit) -> int:
        """Rows of this unit's experiment that are worked on at once."""
        return self.fitted.slots(unit.experiment, self._most(unit))

    def went_well(self, unit: Unit, slots: int) -> None:
        """Remember that so many rows fitted."""
        self.fitted.went_well(unit.experiment, self._most(unit), slots)

    def halve(self, unit: Unit, slots: int, error: BaseException) -> None:
        """Go on with half of the rows that were too many.

        Raises:
            DoesNotFit: One row alone does not fit, so that trying again would not help.
        """
        if slots == 1:
            raise DoesNotFit(
                "One row alone does not fit into the memory of this device.",
                where=pool_name() or "this process",
                next="Use a device with more memory, or free it from other programs.",
            ) from error
        slots = self.fitted.too_many(unit.experiment, self._most(unit), slots)
        print(f"Out of memory; going on with {slots} rows at once. ({error})")

    def _most(self, unit: Unit) -> int:
        """The most rows of this unit that are worked on at once where memory is plenty."""
        return unit.at_once or self.lane.width_of(unit.experiment)


_held: dict[tuple[str, str], Held] = {}


def hold(study: Study, alias: str) -> Held:
    """The study's model in this process, loaded and checked at the first call.

    Another model that was held before is let go first: a device keeps one at a time.
    """
    name = (study.model_dump_json(), alias)
    if name not in _held:
        _held.clear()
        free_memory()
        gc.freeze()  # imported code stays; looking through it before every unit takes 0.3 s
        device = "cuda" if torch.cuda.is_available() else "cpu"
        with one_load_at_a_time():
            _held[name] = Held(open_lane(study, alias, device), fitted_on(device, study, alias))
    return _held[name]


def fitted_on(device: str, study: Study, alias: str) -> Fitted:
    """What is remembered of this model on such a device; a bare process remembers for itself."""
    path = state_folder() / "fitted.json" if pool_name() else None
    gpu = torch.cuda.get_device_name(device) if device == "cuda" else device
    return Fitted(path, gpu, study.models[alias].id)


def alias_of(unit: Unit) -> str:
    """The model a unit is about: the first word of its slug."""
    return unit.slug.split("/")[0]


def free_memory() -> None:
    """Give memory of dead tensors back, so that a retry finds it free."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@task(name="load model", task_run_name="load {alias}", **STEP)
def load_model(study: Study, alias: str) -> None:
    """Load the model and check it: parameters, hook points, tokens at the start of a prompt."""
    for check in hold(study, alias).lane.checks:
        print(f"{check.name}: {check.detail}")


def load_if_needed(study: Study, alias: str, units: Sequence[Unit], store: Store) -> None:
    """Load the model unless all units are done."""
    if any(unit.ref(store) is None for unit in units):
        load_model(study, alias)


def carry_out(run: Run, study: Study, alias: str, unit: Unit, store: Store) -> dict[str, Any]:
    """Do one unit on this process's model and return a small reference to its part.

    Out of memory halves the rows and raises, so that Prefect's retry finds the memory free: whoever
    keeps the exception does not keep the tensors of its frames. An error after which the device
    answers this process no more ends the process: its lock and its claim are free at once, and
    another one does the unit.

    Raises:
        GivenUp: The memory guard had parked the model, and the run was asked to stop.
    """
    if done := unit.ref(store):
        return done.as_dict()  # without loading a model
    held = hold(study, alias)
    slots = held.slots_for(unit)
    free_memory()
    ask = partial(give_up_if_asked, elastic=unit.experiment in ELASTIC)
    try:
        with while_parked(ask):
            part = run(held.lane, store, unit, slots)
        held.went_well(unit, slots)
        return part.as_dict()
    except GivenUp:
        raise  # nothing was too large
    except Exception as error:
        forget_frames(error)
        if is_device_lost(error):
            end_process(f"{unit.slug}: {type(error).__name__}: {error}")
        if is_out_of_memory(error):
            held.halve(unit, slots, error)
        raise
