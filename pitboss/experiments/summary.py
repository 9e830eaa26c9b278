"""The end of a study: every count compared, final files written, the outcome in one JSON file."""

from typing import Any

from pitboss.experiments.runtime.expected import expected_of
from pitboss.experiments.runtime.plan import Plan
from pitboss.report.summary import SUMMARY, write_summary
from pitboss.store.identity import digest


def write(plan: Plan) -> dict[str, Any]:
    """Write summary.json and one Parquet file a table, and compare expected with actual counts.

    Returns:
        What summary.json holds.

    Raises:
        Incomplete: Counts differ, or a part is missing; summary.json says what.
    """
    # An older summary must not speak for a study in which something has gone missing since.
    (plan.store.path / SUMMARY).unlink(missing_ok=True)
    quality = plan.study.quality
    steps = [step for experiment in plan for step in expected_of(plan, experiment)]
    waiting = [problem for experiment in plan if (problem := _waits(plan, experiment.name))]
    extra = {
        "fingerprint": digest(plan.study.determining()),
        "quality": quality.model_dump() if quality else None,
        **_said(plan),
    }
    write_summary(plan.store, steps, waiting, extra=extra)
    for name, (kind, keys) in final_files(plan).items():
        plan.store.combine(kind, keys, name)
    found: dict[str, Any] = plan.store.read_json(SUMMARY)
    return found


def final_files(plan: Plan) -> dict[str, tuple[str, list[str]]]:
    """Name of each final file, without its ending -> table kind and keys of the parts in it.

    The first experiments of each kind share a table's file; every further one has its own.
    """
    files: dict[str, tuple[str, set[str]]] = {}
    for experiment in plan:
        for step in expected_of(plan, experiment):
            name = experiment.named(step.kind)
            files.setdefault(name, (step.kind, set()))[1].update(step.keys)
    return {name: (kind, sorted(keys)) for name, (kind, keys) in files.items()}


def _waits(plan: Plan, name: str) -> str:
    """Why not all of an experiment's stages are known; empty if they are."""
    experiment = plan[name]
    for model in experiment.models:
        stages, why = plan.known(experiment, model)
        if why:
            return f"{experiment.label(model)}: {why}"
        if stages and not stages[-1].finished:
            return ""  # its missing parts are told one by one
    return ""


def _said(plan: Plan) -> dict[str, Any]:
    """What experiments say besides counts: the first of each kind at the top, others by name."""
    found: dict[str, Any] = {}
    for experiment in plan:
        if plan.finished(experiment.name) and (said := experiment.summary()):
            found |= said if experiment.first_of_kind else {experiment.name: said}
    return found
