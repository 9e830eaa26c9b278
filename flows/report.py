"""The report of a study, made again from its files at any time."""

from prefect import flow

from flows.parameters import StudyPath, run_name
from tasks.page import make_report
from tasks.policies import FLOW
from tasks.study import open_plan, read_study


@flow(name="report", flow_run_name=run_name, **FLOW)
def report(study: StudyPath = "studies/demo.yaml") -> None:
    """Everything a study has found so far as one HTML file: results/<study>/report.html.

    It can be made at any time, also while the study runs; what is not finished is left out and
    named. The same files give the same page, byte for byte.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
    """
    make_report(open_plan(read_study(study)))
