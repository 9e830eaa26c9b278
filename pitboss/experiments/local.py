"""A study carried out in this process, without a server: for a laptop, a notebook, a test."""

import time
from collections.abc import Callable

import torch

from pitboss.errors import BadInput, OutOfMemory
from pitboss.experiments import summary
from pitboss.experiments.runtime.artifacts import FigureArtifact
from pitboss.experiments.runtime.carry_out import carry_out
from pitboss.experiments.runtime.context import ModelContext, open_context
from pitboss.experiments.runtime.expected import staged
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.quality import Gate
from pitboss.experiments.runtime.unit import Unit
from pitboss.studies.model import Study

Tell = Callable[[str], None]


class Models:
    """The study's models on this machine's device, one at a time."""

    def __init__(self, study: Study) -> None:
        self._study, self._held = study, dict[str, ModelContext]()
        self._device = "cuda" if torch.cuda.is_available() else "cpu"

    def __call__(self, alias: str) -> ModelContext:
        if alias not in self._held:
            self._held.clear()
            self._held[alias] = open_context(self._study, alias, self._device)
        return self._held[alias]


def run(plan: Plan, only: str | None = None, tell: Tell = print) -> None:
    """Carry out a study, or one of its experiments; what is finished is not done again.

    Args:
        only: The study's name of one experiment, whose sources must be finished.
        tell: Told of every unit that was done.

    Raises:
        BadInput: There is no such experiment.
        Incomplete: What it reads is not finished; or, at the end, a count differs.
        PoorResponses: Too few responses state a decision.
    """
    if only is not None and only not in plan.study.experiments:
        raise BadInput(
            f"The study {plan.study.name} has no experiment {only!r}.",
            next=f"Use one of {', '.join(plan.study.experiments)}.",
        )
    models = Models(plan.study)
    for experiment in plan:
        if only in (None, experiment.name):
            for model in experiment.models:
                _carry_out(plan, experiment.name, model, models, tell)
    if only is None:
        summary.write(plan)


def _carry_out(plan: Plan, name: str, model: str, models: Models, tell: Tell) -> None:
    experiment = plan[name]
    gate = Gate(experiment, model)
    for units in staged(plan, experiment, model):
        for number, unit in enumerate(units, start=1):
            began = time.monotonic()
            done = plan.done(unit)
            if not done:
                _in_memory(plan, unit, models)
            gate.follow(units)
            took = "was there" if done else f"{time.monotonic() - began:.1f} s"
            tell(f"{experiment.label(model)}: {unit.slug}, {number} of {len(units)}, {took}")
    for shown in experiment.results(model):
        if isinstance(shown, FigureArtifact):
            plan.store.write_bytes(f"figures/{shown.name}.png", shown.png)


def _in_memory(plan: Plan, unit: Unit, models: Models) -> None:
    """Do a unit, with half as much in flight again and again while memory is too short."""
    slots: int | None = None
    while True:
        try:
            carry_out(plan, unit, models, slots)
            return
        except (OutOfMemory, torch.OutOfMemoryError):
            if slots == 1 or unit.model is None:
                raise
            own = plan.of_unit(unit).settings.own_prompts
            most = unit.at_once or plan.study.engine.width_of(own_prompts=own)
            slots = max(1, (slots or most) // 2)
