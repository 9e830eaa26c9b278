"""A study as it is carried out: its experiments bound to its store, and what is finished."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pitboss.errors import BadInput, PitbossError
from pitboss.experiments.runtime.experiment import Experiment
from pitboss.experiments.runtime.unit import Unit
from pitboss.store import Store
from pitboss.studies.model import Study


@dataclass(frozen=True)
class Stage:
    """What is known of one stage of an experiment on one model.

    Attributes:
        units: Its units, with those that a growing unit consists of so far in its place.
        finished: Whether all of them are.
    """

    units: tuple[Unit, ...]
    finished: bool


class Plan:
    """A study and its store. Built once a run.

    What is found finished stays so for this plan: a part is looked for once.

    Args:
        store: The study's folder; None where only settings are asked about.
        classes: Kind of experiment -> its class, see `pitboss.experiments.registry.plan_of`.
        secrets: Where keys of servers are looked up, by the names that the study gives.
    """

    def __init__(
        self,
        study: Study,
        store: Store | None,
        classes: Mapping[str, type[Experiment[Any]]],
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self.study, self._store, self.secrets = study, store, secrets or {}
        self._experiments = {
            name: classes[settings.kind](self, name, settings)
            for name, settings in study.experiments.items()
        }
        self._done: set[tuple[str, str]] = set()
        self._whole: dict[tuple[str, str], list[Stage]] = {}
        self._order = study.in_order()

    @property
    def store(self) -> Store:
        """The study's folder.

        Raises:
            BadInput: The plan was made without one.
        """
        if self._store is None:
            raise BadInput(f"The study {self.study.name} was opened without a folder of results.")
        return self._store

    def __getitem__(self, name: str) -> Experiment[Any]:
        return self._experiments[name]

    def __iter__(self) -> Iterator[Experiment[Any]]:
        """The experiments, each behind all that it reads."""
        return (self._experiments[name] for name in self._order)

    def of_unit(self, unit: Unit) -> Experiment[Any]:
        """The experiment that a unit belongs to."""
        return self._experiments[unit.experiment]

    def readers_of(self, name: str) -> list[Experiment[Any]]:
        """The experiments that read another one directly."""
        return [each for each in self if name in self.study.reads(each.name)]

    def done(self, unit: Unit) -> bool:
        """Whether a unit is finished."""
        place = (unit.kind, unit.key)
        if place not in self._done and unit.ref(self.store) is not None:
            self._done.add(place)
        return place in self._done

    def known(self, experiment: Experiment[Any], model: str) -> tuple[list[Stage], str]:
        """The stages of an experiment that are known now: the finished ones and the next.

        Returns:
            The stages, and why no further one is known although there is more; empty where all are
            finished, or the last one listed is not.
        """
        if (experiment.name, model) in self._whole:
            return self._whole[experiment.name, model], ""
        found: list[Stage] = []
        try:
            for units in experiment.stages(model):
                parts = tuple(part for unit in units for part in experiment.parts(unit))
                found.append(Stage(parts, all(self.done(unit) for unit in units)))
                if not found[-1].finished:
                    return found, ""
        except PitbossError as error:
            return found, error.what
        self._whole[experiment.name, model] = found
        return found, ""

    def finished(self, name: str) -> bool:
        """Whether an experiment is finished on all its models."""
        experiment = self[name]
        for model in experiment.models:
            stages, waits = self.known(experiment, model)
            if waits or not all(stage.finished for stage in stages):
                return False
        return True
