"""An experiment of a study: what its units are, how one is carried out, what it shows.

A kind of experiment is one class derived from `Experiment`, and its section of the study file
(`pitboss.studies.experiment.ExperimentSettings`); `pitboss.experiments.registry` names both. An
object of the class is one experiment of one study, bound to its store by a `Plan`.

Nothing here imports a tensor library; what carries units out is imported when it is asked to.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pitboss.errors import BadInput
from pitboss.experiments.runtime.artifacts import Artifact, Declaration
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.store import Store
from pitboss.studies.experiment import ExperimentSettings
from pitboss.studies.model import Study
from pitboss.studies.workload import Workload

if TYPE_CHECKING:
    from pitboss.experiments.runtime.context import ModelContext
    from pitboss.experiments.runtime.plan import Plan

S = TypeVar("S", bound=ExperimentSettings)
E = TypeVar("E", bound="Experiment[Any]")

Stages = Iterator[Sequence[Unit]]
"""Units stage by stage. Those of one stage wait for nothing but the stages before: several workers
may share them. A stage is asked for when all before it are finished, so what it asks may follow
from what they left."""


class Experiment(Generic[S]):
    """One experiment of a study.

    Attributes:
        plan: The study's other experiments, and what is finished.
        name: The study's name of this one.
        settings: Its section of the study file.
    """

    judged: ClassVar[str | None] = None
    """Table kind of responses by whose quality the experiment may be stopped (the study's
    `quality`); None where none are judged."""

    results_task: ClassVar[str] = "results"
    """Name of the task that shows what was found."""

    def __init__(self, plan: "Plan", name: str, settings: S) -> None:
        self.plan, self.name, self.settings = plan, name, settings

    @property
    def study(self) -> Study:
        return self.plan.study

    @property
    def store(self) -> Store:
        return self.plan.store

    @property
    def models(self) -> list[str]:
        """The study's names of the models it is carried out on, one after the other or at once."""
        return self.study.aliases_of(self.name)

    def reads(self, kind: type[E], name: str) -> E:
        """Another experiment of the study, which this one's settings name.

        Raises:
            BadInput: It is of another kind.
        """
        found = self.plan[name]
        if not isinstance(found, kind):
            raise BadInput(
                f"{self.name} cannot read {name}, which is of kind {found.settings.kind}.",
                where=f"study {self.study.name}",
            )
        return found

    @property
    def first_of_kind(self) -> bool:
        """Whether the study file names no other experiment of this kind before it."""
        kinds = {name: each.kind for name, each in self.study.experiments.items()}
        return next(n for n, kind in kinds.items() if kind == self.settings.kind) == self.name

    def named(self, name: str) -> str:
        """A name in the study's folder or on the page: as it is, but for further ones of a kind."""
        return name if self.first_of_kind else f"{name}-{self.name}"

    def file(self, name: str) -> str:
        """`controls.json`, or `controls-<name>.json` for further experiments of the kind."""
        stem, _, suffix = name.rpartition(".")
        return f"{self.named(stem)}.{suffix}"

    def label(self, model: str) -> str:
        """How counts of one model are headed: `patching`, or `games llama` where it has several."""
        return f"{self.name} {model}" if len(self.models) > 1 else self.name

    def stages(self, model: str) -> Stages:
        """Everything that is to be carried out on one model, in order.

        Raises:
            Incomplete: What it reads from another experiment is not finished.
            BadInput: What it reads is damaged or does not fit.
        """
        raise NotImplementedError

    def run(self, context: "ModelContext | None", unit: Unit, slots: int | None = None) -> Outcome:
        """Carry out one unit: from what is stored and settings to tables, nothing else.

        Args:
            context: The unit's model on its device; None for a unit that needs none.
            slots: The most that is in flight at once where memory is short; changes no result.
        """
        raise NotImplementedError

    def parts(self, unit: Unit) -> Sequence[Unit]:
        """The parts that a unit consists of: itself, unless it grows while it is carried out."""
        return [unit]

    def judges(self, unit: Unit) -> bool:
        """Whether the responses of a unit count for the quality of the experiment."""
        return self.judged is not None and self.judged in unit.kinds

    def workload(self) -> list[Workload]:
        """How much there is to do, at most: for the announcement, the dry run and the planner."""
        raise NotImplementedError

    def notes(self) -> Iterable[str]:
        """Sentences on what cannot be met and what to know, said before anything starts."""
        return ()

    def declared(self) -> Declaration | None:
        """What is tested and found, declared before anything runs; None if nothing is."""
        return None

    def preflight(self) -> None:
        """Refuse what would fail later, before anything is loaded.

        Raises:
            BadInput: A file it needs is missing or does not fit.
        """

    def shown(self, unit: Unit) -> Iterable[Artifact]:
        """What a person sees of a finished unit."""
        return ()

    def results(self, model: str) -> Iterable[Artifact]:
        """What a person sees when everything of one model is finished."""
        return ()

    def quotas(self, table: str) -> dict[str, dict[str, int]]:
        """Column -> value -> rows that were aimed at; fewer are reported, not refused."""
        return {}

    def summary(self) -> dict[str, Any]:
        """What the study's summary says of it besides counts, under its own keys."""
        return {}
