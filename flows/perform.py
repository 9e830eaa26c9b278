"""How a flow run carries out an experiment: stage by stage, shared with the workers beside it."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from prefect import Flow, State, flow

from flows.parameters import ExperimentName, ModelAlias, Shard, Shards, StudyPath, chosen, run_name
from flows.share import share
from pitboss.errors import BadInput
from pitboss.experiments.registry import kind_of
from pitboss.experiments.runtime.expected import staged
from pitboss.experiments.runtime.experiment import Experiment
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.quality import Gate
from pitboss.experiments.runtime.unit import Unit
from pitboss.floor.locks.claims import in_turn
from pitboss.studies.experiment import ExperimentSettings
from tasks.artifacts import Progress
from tasks.model import load_if_needed
from tasks.parts import task_of
from tasks.policies import FLOW, unless_stored
from tasks.shown import results_task, show
from tasks.study import begin

Run = Flow[..., State[Any] | None]
_PARAMETERS = """
    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
        experiment: One of the study's experiments of this kind by its name in the file. Empty: all
            of them, one after the other.
        model: One model by its name in the study file, such as llama. Empty: all models of the
            experiment, one after the other."""
_SHARES = """
        shard: With which share of the units this run begins, counted from 0. After that it takes
            whatever the others have not begun.
        shards: Into how many shares the units are dealt: the number of workers at work."""


def experiment_flow(settings: type[ExperimentSettings]) -> Run:
    """The flow that carries out a kind of experiment, with a form that explains its parameters."""
    kind = kind_of(settings)

    def alone(
        study: StudyPath = "studies/demo.yaml",
        experiment: ExperimentName = None,
        model: ModelAlias = None,
    ) -> State[Any] | None:
        return perform(kind, study, experiment, model)

    def shared(
        study: StudyPath = "studies/demo.yaml",
        experiment: ExperimentName = None,
        model: ModelAlias = None,
        shard: Shard = 0,
        shards: Shards = 1,
    ) -> State[Any] | None:
        return perform(kind, study, experiment, model, shard, shards)

    body: Callable[..., State[Any] | None] = shared if settings.elastic else alone
    body.__name__ = body.__qualname__ = settings.flow
    body.__doc__ = f"{settings.__doc__}\n{_PARAMETERS}{_SHARES if settings.elastic else ''}\n    "
    return cast(Run, flow(name=settings.flow, flow_run_name=run_name, **FLOW)(body))


def perform(
    kind: str, study: str, name: str | None, model: str | None, shard: int = 0, shards: int = 1
) -> State[Any] | None:
    """Carry out the study's experiments of a kind.

    Returns:
        The state in which a run ends that was asked to leave; None when everything is finished.

    Raises:
        BadInput: The study has no such experiment, or it does not use the model.
    """
    plan = begin(study)
    for experiment in _of_kind(plan, kind, name):
        for alias in chosen(model, experiment.models, f"experiment {experiment.name}"):
            if (ended := _carry_out(plan, experiment, alias, shard, shards)) is not None:
                return ended
    return None


def _of_kind(plan: Plan, kind: str, name: str | None) -> list[Experiment[Any]]:
    found = {each.name: each for each in plan if each.settings.kind == kind}
    if not found:
        raise BadInput(
            f"The study {plan.study.name} has no experiment of kind {kind}.",
            where="study file, experiments",
            next=f"Add one with `kind: {kind}`.",
        )
    return [found[one] for one in chosen(name, list(found), f"experiments of kind {kind}")]


def _carry_out(
    plan: Plan, experiment: Experiment[Any], model: str, shard: int, shards: int
) -> State[Any] | None:
    """Everything of one experiment on one model; with other workers where it is elastic."""
    label = f"{plan.study.name}-{experiment.name}-{model}-{shard}-of-{shards}"
    gate = Gate(experiment, model)
    for number, units in enumerate(staged(plan, experiment, model), start=1):
        work = in_turn(units, shard, shards)
        gate.follow(units)
        load_if_needed(plan, work)
        bar = Progress(f"{label}-progress", f"{experiment.name}, stage {number}", len(work))
        for unit in [each for each in units[shard::shards] if plan.done(each)]:
            unless_stored(task_of(unit), plan, unit)  # seen as Cached
            show(plan, experiment.shown(unit))

        def finished(unit: Unit, units: Sequence[Unit] = units) -> None:
            show(plan, experiment.shown(unit))
            gate.follow(units)  # some of them others may have finished meanwhile

        if (left := share(plan, experiment, work, bar, finished)) is not None:
            return left
        gate.follow(units)
    results_task(experiment.results_task)(plan, experiment.name, model)
    return None
