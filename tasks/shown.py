"""What experiments show of themselves, on the page of the run that shows it."""

from collections.abc import Callable, Iterable
from functools import cache

from prefect import task

from pitboss.experiments.runtime.artifacts import Artifact, FigureArtifact, TableArtifact
from pitboss.experiments.runtime.plan import Plan
from tasks.artifacts import keep_picture, show_markdown, show_table
from tasks.policies import STEP


def show(plan: Plan, artifacts: Iterable[Artifact]) -> None:
    """Tables, texts and pictures as artifacts; pictures are kept in the study's folder, too."""
    for shown in artifacts:
        key = f"{plan.study.name}-{shown.name}"
        if isinstance(shown, TableArtifact):
            show_table(key, shown.rows, shown.title, rest=shown.rest)
        elif isinstance(shown, FigureArtifact):
            keep_picture(plan.store, shown.name, shown.png, shown.title)
        else:
            print(shown.text)
            show_markdown(key, shown.text, shown.title)


@cache
def results_task(name: str) -> Callable[[Plan, str, str], None]:
    """The task of this name that shows what an experiment found on a model."""

    @task(name=name, task_run_name=f"{name}, {{experiment}} {{model}}", **STEP)
    def show_results(plan: Plan, experiment: str, model: str) -> None:
        show(plan, plan[experiment].results(model))

    return show_results
