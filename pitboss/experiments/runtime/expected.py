"""What an experiment is to leave behind, as far as it is known: counted at the end, shown before.

Whoever works on an experiment writes what it knows of it into the study's folder, stage by stage.
So whoever only looks can say how far it is without asking what the units are, which takes the
model's features and so a tensor library.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from pitboss.experiments.runtime.experiment import Experiment
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.unit import Unit
from pitboss.report.reader import EXPECTED
from pitboss.report.summary import Expected


def staged(plan: Plan, experiment: Experiment[Any], model: str) -> Iterator[Sequence[Unit]]:
    """The experiment's stages, each written down before it is worked on."""
    known: list[Unit] = []
    for units in experiment.stages(model):
        known += units
        _write(plan, experiment, model, known, more=True)
        yield units
    _write(plan, experiment, model, known, more=False)


def expected_of(plan: Plan, experiment: Experiment[Any]) -> list[Expected]:
    """One entry a table and model, of the stages that are known now."""
    found = []
    for model in experiment.models:
        stages, _ = plan.known(experiment, model)
        found += _tables(experiment, model, [unit for stage in stages for unit in stage.units])
    return found


def _tables(experiment: Experiment[Any], model: str, parts: Sequence[Unit]) -> list[Expected]:
    tables: dict[str, list[Unit]] = {}
    for part in parts:
        for kind in (part.kind, *part.beside):
            tables.setdefault(kind, []).append(part)
    return [
        Expected(
            experiment.label(model),
            kind,
            [part.key for part in of_kind],
            _rows(kind, of_kind),
            quotas := experiment.quotas(kind),
            shortfall_allowed=bool(quotas),
        )
        for kind, of_kind in tables.items()
    ]


def _rows(kind: str, parts: Sequence[Unit]) -> int | None:
    """Rows of all parts together; None where the work of one decides, or they lie beside."""
    rows = [part.rows if part.kind == kind else None for part in parts]
    return None if None in rows else sum(row for row in rows if row is not None)


def _write(
    plan: Plan, experiment: Experiment[Any], model: str, units: Sequence[Unit], *, more: bool
) -> None:
    parts = [part for unit in units for part in experiment.parts(unit)]
    plan.store.write_json(
        f"{EXPECTED}/{experiment.name}-{model}.json",
        {
            "experiment": experiment.label(model),
            "name": experiment.name,
            "model": model,
            "reads": sorted(plan.study.reads(experiment.name)),
            "more": more,
            "tables": [
                {"table": each.kind, "keys": list(each.keys), "rows": each.rows}
                for each in _tables(experiment, model, parts)
            ],
        },
    )
