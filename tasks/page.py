"""The report: a study's whole result as one HTML file."""

from prefect import task

from pitboss.report.page import render
from pitboss.studies.model import Study
from tasks.artifacts import show_markdown
from tasks.policies import STEP
from tasks.study import open_results


@task(name="report", **STEP)
def make_report(study: Study) -> None:
    """Write report.html from what the study holds so far, and show where it is."""
    path = render.write(open_results(study)).resolve()
    print(f"Report: {path}")
    show_markdown(
        f"{study.name}-report",
        f"One file that needs neither server nor network:\n\n`{path}`\n\n"
        f"Open it in a browser: [{path.as_uri()}]({path.as_uri()}). A browser may not follow such "
        "a link from here; copy the address then.",
        f"The report of study {study.name}",
    )
