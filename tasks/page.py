"""The report: a study's whole result as one HTML file."""

from prefect import task

from pitboss.experiments.runtime.plan import Plan
from pitboss.report.page import render
from tasks.artifacts import show_markdown
from tasks.policies import STEP


@task(name="report", **STEP)
def make_report(plan: Plan) -> None:
    """Write report.html from what the study holds so far, and show where it is."""
    path = render.write(plan.store).resolve()
    print(f"Report: {path}")
    show_markdown(
        f"{plan.study.name}-report",
        "One file with everything, which needs neither server nor network. Open this address in a "
        f"browser of the machine; a link from here to its disk would not be followed:\n\n"
        f"`{path.as_uri()}`",
        f"The report of study {plan.study.name}",
    )
