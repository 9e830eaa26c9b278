"""The end of a campaign: counts compared, files combined, results where a person looks."""

from typing import Any

from prefect import task

from pitboss.experiments import summary
from pitboss.studies.model import Study
from tasks.artifacts import show_markdown
from tasks.policies import STEP
from tasks.study import open_results


@task(name="summary", **STEP)
def summarise(study: Study) -> None:
    """Compare expected with actual counts and write summary.json and the final files.

    Raises:
        Incomplete: A count differs; the summary is written all the same.
    """
    store = open_results(study)
    try:
        summary.write(study, store)
    finally:
        if (store.path / "summary.json").is_file():
            found = store.read_json("summary.json")
            show_markdown(f"{study.name}-summary", as_markdown(found), f"Summary of {study.name}")
    print(f"Results: {store.path}")


def as_markdown(found: dict[str, Any]) -> str:
    """A summary as nested lists: names in bold, numbers as they are."""
    lines: list[str] = []

    def add(value: Any, depth: int) -> None:
        for name, item in value.items() if isinstance(value, dict) else enumerate(value, 1):
            if isinstance(item, dict | list):
                lines.append(f"{'  ' * depth}- **{name}**")
                add(item, depth + 1)
            else:
                lines.append(f"{'  ' * depth}- **{name}**: {item}")

    add(found, 0)
    return "\n".join(lines)
