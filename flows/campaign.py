"""The whole study in its order, from one run."""

from prefect import flow
from prefect.client.orchestration import get_client

from flows.orchestrate import cancel_parts, orchestrate, require_pools, workers_on
from flows.parameters import StudyPath, run_name
from flows.parts import parts_of
from tasks.floor import approved
from tasks.page import make_report
from tasks.policies import FLOW
from tasks.progress import StudyProgress
from tasks.report import summarise
from tasks.study import begin, open_plan, read_study


@flow(name="campaign", flow_run_name=run_name, on_cancellation=[cancel_parts], **FLOW)
def campaign(study: StudyPath = "studies/demo.yaml") -> None:
    """The whole study: each experiment when all that it reads is finished, then the summary.

    Each part is a run of its own on a work pool, of those that the study's floor section names or,
    without one, of all that have a worker; parts that do not wait for each other run at the same
    time. Run again after a stop, a campaign starts the parts again, and these skip what is
    finished. It fails if a part fails, or if any count differs from what was announced. Where the
    study requires an approval, nothing starts without one.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
    """
    settings = approved(read_study(study))
    with get_client(sync_client=True) as client:
        parts = parts_of(settings, workers_on(client))
        require_pools(client, parts)
        begin(study, again=True)
        progress = StudyProgress(settings)
        orchestrate(client, parts, study, progress.tell)
    plan = open_plan(settings)
    try:
        summarise(plan)
    finally:
        make_report(plan)  # also of a study that is not complete: it says what is missing
    progress.tell(now=True)
