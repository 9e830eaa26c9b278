"""Carrying out units where one stands: a task, a script, a test or a notebook."""

import time
from collections.abc import Callable
from typing import Any

from pitboss.errors import Incomplete
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.expected import staged
from pitboss.experiments.runtime.experiment import Experiment
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.unit import Unit
from pitboss.store import PartRef

ContextOf = Callable[[str], ModelContext]
"""The study's name of a model -> that model on the device."""


def carry_out(
    plan: Plan, unit: Unit, context_of: ContextOf, slots: int | None = None, worker: str = ""
) -> PartRef:
    """Do a unit unless it is done, and store it.

    Args:
        context_of: Asked only for a unit that is not done and needs a model.
        slots: The most that is in flight at once where memory is short; changes no result.
        worker: The work pool this is done on, if any.

    Raises:
        Incomplete: The unit's tables are stored, but what belongs beside them is not.
    """
    experiment = plan.of_unit(unit)
    while (done := unit.ref(plan.store)) is None:
        part = experiment.parts(unit)[-1]
        began = time.time()
        context = context_of(part.model) if part.model is not None else None
        part.complete(plan.store, experiment.run(context, part, slots), began, worker)
        if part.ref(plan.store) is None:
            raise Incomplete(
                f"Unit {part.slug} was stored, but what belongs beside it is missing.",
                where=str(plan.store.path),
            )
    return done


def carry_out_all(
    plan: Plan, experiment: Experiment[Any], model: str, context_of: ContextOf
) -> None:
    """Do everything of an experiment on one model, stage by stage.

    Raises:
        Incomplete: What it reads is not finished.
    """
    for units in staged(plan, experiment, model):
        for unit in units:
            carry_out(plan, unit, context_of)
