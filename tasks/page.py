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
        "One file with everything, which needs neither server nor network. Open this address in a "
        f"browser of the machine; a link from here to its disk would not be followed:\n\n"
        f"`{path.as_uri()}`",
        f"The report of study {study.name}",
    )
