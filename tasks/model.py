"""The model of this flow run's process: loaded once, shared by all its tasks."""

import gc
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from prefect import task

from pitboss.engine.pressure import forget_frames
from pitboss.errors import PitbossError
from pitboss.experiments.runtime.carry_out import carry_out
from pitboss.experiments.runtime.context import ModelContext, open_context
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.unit import Unit
from pitboss.floor.memory.fitted import Fitted
from pitboss.floor.memory.watcher import while_parked
from pitboss.studies.model import Study
from tasks.policies import STEP, is_device_lost, is_out_of_memory
from tasks.worker import (
    GivenUp,
    end_process,
    give_up_if_asked,
    one_load_at_a_time,
    pool_name,
    state_folder,
)


class DoesNotFit(PitbossError):
    """One row alone does not fit into the device's memory; another device may have more."""


class Held:
    """A model and how many requests it works on at once.

    Short memory halves the requests of an experiment, for the next runs on such a GPU too; later it
    is tried with more again. Results do not depend on their number.
    """

    def __init__(self, context: ModelContext, fitted: Fitted | None = None) -> None:
        self.context = context
        self.fitted = fitted or Fitted(None, "", "")

    def slots_for(self, unit: Unit, width: int) -> int:
        """Requests of this unit's experiment that are worked on at once, of `width` at most."""
        return self.fitted.slots(unit.experiment, unit.at_once or width)

    def went_well(self, unit: Unit, width: int, slots: int) -> None:
        """Remember that so many fitted."""
        self.fitted.went_well(unit.experiment, unit.at_once or width, slots)

    def halve(self, unit: Unit, width: int, slots: int, error: BaseException) -> None:
        """Go on with half of those that were too many.

        Raises:
            DoesNotFit: One alone does not fit, so that trying again would not help.
        """
        if slots == 1:
            raise DoesNotFit(
                "One request alone does not fit into the memory of this device.",
                where=pool_name() or "this process",
                next="Use a device with more memory, or free it from other programs.",
            ) from error
        slots = self.fitted.too_many(unit.experiment, unit.at_once or width, slots)
        print(f"Out of memory; going on with {slots} requests at once. ({error})")


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
            _held[name] = Held(open_context(study, alias, device), fitted_on(device, study, alias))
    return _held[name]


def fitted_on(device: str, study: Study, alias: str) -> Fitted:
    """What is remembered of this model on such a device; a bare process remembers for itself."""
    path = state_folder() / "fitted.json" if pool_name() else None
    gpu = torch.cuda.get_device_name(device) if device == "cuda" else device
    return Fitted(path, gpu, study.models[alias].id)


def free_memory() -> None:
    """Give memory of dead tensors back, so that a retry finds it free."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@task(name="load model", task_run_name="load {alias}", **STEP)
def load_model(plan: Plan, alias: str) -> None:
    """Load the model and check it: parameters, hook points, tokens at the start of a prompt."""
    for check in hold(plan.study, alias).context.checks:
        print(f"{check.name}: {check.detail}")


def load_if_needed(plan: Plan, units: Sequence[Unit]) -> None:
    """Load the models of the units that are not done."""
    for alias in dict.fromkeys(unit.model for unit in units if unit.model is not None):
        if any(unit.model == alias and not plan.done(unit) for unit in units):
            load_model(plan, alias)


def carry_out_here(plan: Plan, unit: Unit) -> dict[str, Any]:
    """Do one unit, on this process's model if it needs one; a small reference to its part.

    Out of memory halves the requests in flight and raises, so that Prefect's retry finds the memory
    free: whoever keeps the exception does not keep the tensors of its frames. An error after which
    the device answers this process no more ends the process: its lock and its claim are free at
    once, and another one does the unit.

    Raises:
        GivenUp: The memory guard had parked the model, and the run was asked to stop.
    """
    if done := unit.ref(plan.store):
        return done.as_dict()  # without loading a model
    if unit.model is None:  # so nobody asks for one
        return carry_out(plan, unit, lambda alias: hold(plan.study, alias).context).as_dict()
    held, experiment = hold(plan.study, unit.model), plan.of_unit(unit)
    width = held.context.width_of(own_prompts=experiment.settings.own_prompts)
    slots = held.slots_for(unit, width)
    free_memory()
    try:
        with while_parked(partial(give_up_if_asked, elastic=experiment.settings.elastic)):
            part = carry_out(plan, unit, lambda alias: held.context, slots, pool_name())
        held.went_well(unit, width, slots)
        return part.as_dict()
    except GivenUp:
        raise  # nothing was too large
    except Exception as error:
        forget_frames(error)
        if is_device_lost(error):
            end_process(f"{unit.slug}: {type(error).__name__}: {error}")
        if is_out_of_memory(error):
            held.halve(unit, width, slots, error)
        raise


def left_to_others(units: Sequence[Unit]) -> None:
    """At a run's end: units that it could not compute and that nobody else has finished.

    Raises:
        DoesNotFit: There are some; names them.
    """
    if not units:
        return
    raise DoesNotFit(
        f"{len(units)} units do not fit into the memory of this device and are not finished "
        f"elsewhere: {', '.join(unit.slug for unit in units)}.",
        where=pool_name() or "this process",
        next="Let a worker with more memory join, or free this one; then run the experiment again.",
    )
