"""One task a unit of work: what Prefect retries, caches as `Cached` and shows by name."""

from functools import cache
from typing import Any

from prefect import Task, task

from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.unit import Unit
from tasks.model import carry_out_here
from tasks.policies import PART

PartTask = Task[[Plan, Unit], dict[str, Any]]


@cache
def part(name: str, verb: str = "") -> PartTask:
    """The task of this name: it carries out one unit and returns a reference to its part.

    Args:
        verb: What its runs are called by, before the unit's name; the task's name if empty.
    """

    @task(name=name, task_run_name=f"{verb or name} {{unit.slug}}", **PART)
    def carry_out(plan: Plan, unit: Unit) -> dict[str, Any]:
        return carry_out_here(plan, unit)

    return carry_out


game_batch = part("game batch", "games")
sae_extract = part("SAE extract", "SAE sums")
feature_chunk = part("feature chunk", "patch")

_NAMED = {each.name: each for each in (game_batch, sae_extract, feature_chunk)}


def task_of(unit: Unit) -> PartTask:
    """The task that carries out a unit."""
    return _NAMED.get(unit.task) or part(unit.task)
