"""The whole plan in its order, from one run."""

from prefect import flow
from prefect.client.orchestration import get_client

from flows.orchestrate import cancel_parts, conduct, require_pools
from flows.parameters import StudyPath, run_name
from flows.parts import after_effects, until_patching
from tasks.floor import approved
from tasks.page import make_report
from tasks.patch import effects
from tasks.policies import FLOW
from tasks.progress import StudyProgress
from tasks.report import summarise
from tasks.study import begin, read_study


@flow(name="campaign", flow_run_name=run_name, on_cancellation=[cancel_parts], **FLOW)
def campaign(study: StudyPath = "studies/demo.yaml") -> None:
    """The whole plan in its order: games, features, pathway, patching, words and the summary.

    A study with a screening section is screened as well: before patching where that confirms what
    the screening finds, otherwise beside the words. What patching finds causal is asked again where
    the study says so.

    Each part is a run of its own on the work pool that the study's floor section names; parts that
    do not wait for each other run at the same time. Run again after a stop, a campaign starts the
    parts again, and these skip what is finished. It fails if a part fails, or if any count differs
    from what was announced. Where the study requires an approval, nothing starts without one.

    Args:
        study: A study file of the repository, such as studies/demo.yaml or studies/plan.yaml. It
            fixes everything that results depend on.
    """
    settings = approved(read_study(study))
    first, last = until_patching(settings), after_effects(settings)
    with get_client(sync_client=True) as client:
        require_pools(client, [*first, *last])
        begin(study)
        progress = StudyProgress(settings)
        conduct(client, first, study, progress.tell)
        effects(settings)
        conduct(client, last, study, progress.tell)
    try:
        summarise(settings)
    finally:
        make_report(settings)  # also of a study that is not complete: it says what is missing
    progress.tell(now=True)
