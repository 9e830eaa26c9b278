"""The gate: a person says where a study may run before anything does."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from prefect import flow, runtime
from prefect.deployments import run_deployment
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from pydantic import Field, ValidationError, create_model

from flows.parameters import StudyPath, SurveyPath, run_name
from pitboss.errors import BadInput
from pitboss.floor.planning.approval import keep, reasons_to_ask_again
from pitboss.floor.planning.decision import Asked, Decision, check_answers
from pitboss.report.approval import answered, form_text
from tasks.artifacts import show_markdown
from tasks.floor import look, question, remembered
from tasks.policies import FLOW
from tasks.study import open_results, read_study

SECONDS_PER_DAY = 86_400
Days = Annotated[float, Field(gt=0, le=365)]
# The server checks patterns, but no formats; the format is what makes the UI show a calendar.
Deadline = Annotated[
    str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", json_schema_extra={"format": "date"})
]


@flow(name="approve", flow_run_name=run_name, **FLOW)
def approve(
    study: StudyPath = "studies/plan.yaml",
    survey: SurveyPath = None,
    figures: SurveyPath = None,
    days: Days = 7.0,
    start_campaign: bool = True,
) -> None:
    """Survey the floor, propose options, and wait for a person to choose one.

    The run suspends, which costs no process. Resume it on its page in the UI: the form shows the
    survey and the options, and asks. The answer is stored with the study. If the floor has changed
    between the survey and the answer, or the answers contradict each other, it asks again and says
    why. Without an answer in time, nothing starts and the run fails.

    Args:
        study: A study file of the repository, such as studies/plan.yaml.
        survey: A survey file, such as studies/floors/plan.yaml, instead of this machine's GPUs.
        figures: A file with a plan's figures, such as studies/floors/plan-figures.yaml, for what no
            pilot timed.
        days: How long to wait for an answer.
        start_campaign: Whether the campaign starts once the answer is there.
    """
    # After each answer this starts from the top in a new process: what was asked lies on disk.
    settings = read_study(study)
    store = open_results(settings)
    run = str(runtime.flow_run.id)
    number, asked = remembered(store, run)
    if asked is None:
        number, asked = 1, question(settings, store, run, 1, look(survey), figures)
    while True:
        show_markdown(f"{settings.name}-approval", form_text(settings.name, asked, days))
        given = ask(settings.name, asked, number, days)
        fresh = look(survey)
        try:
            decision = decide(asked, given, run)
            reasons = reasons_to_ask_again(decision, fresh)
        except BadInput as error:
            reasons = [error.what]
        if not reasons:
            break
        get_run_logger().warning("Asking again: %s", " ".join(reasons))
        number += 1
        asked = question(settings, store, run, number, fresh, figures, reasons)
    keep(store, decision)
    print(answered(decision))
    show_markdown(f"{settings.name}-approval", answered(decision), "What was decided")
    if start_campaign:
        begin_campaign(study, decision)


def ask(name: str, asked: Asked, number: int, days: float) -> RunInput | None:
    """Suspend until somebody answers; None if this question ran out of time in an earlier attempt.

    Never returns the first time: the run goes on in another process.
    """
    form = form_for(asked).with_initial_data(description=form_text(name, asked, days))
    try:
        return suspend_flow_run(
            wait_for_input=form, timeout=max(1, round(days * SECONDS_PER_DAY)), key=f"ask-{number}"
        )
    except ValidationError:  # asked before, and the required answers were never given
        return None


def form_for(asked: Asked) -> type[RunInput]:
    """The form: a required choice for each question, so that an empty answer is refused."""
    fields: dict[str, Any] = {
        question.key: (
            Literal[question.choices],
            Field(title=question.text, json_schema_extra={"position": place}),
        )
        for place, question in enumerate(asked.questions)
    }
    fields["deadline"] = (
        Deadline | None,
        Field(
            default=None,
            title="Deadline",
            description="Last day on which it may end, if any.",
            json_schema_extra={"position": len(fields)},
        ),
    )
    fields["answered_by"] = (
        str,
        Field(
            default="",
            title="Answered by",
            description="Stored with the decision.",
            json_schema_extra={"position": len(fields) + 1},
        ),
    )
    return create_model("Approval", __base__=RunInput, **fields)


def decide(asked: Asked, given: RunInput | None, run: str) -> Decision:
    """The decision in a form that was filled in.

    Raises:
        BadInput: There was no answer, or one of the answers is impossible.
    """
    if given is None:
        raise BadInput("No answer came in time to what was asked before.")
    values = given.model_dump()
    deadline, by = values.pop("deadline"), values.pop("answered_by")
    try:
        last_day = date.fromisoformat(deadline) if deadline else None
    except ValueError as error:
        raise BadInput(f"The deadline {deadline!r} is no date: {error}.") from error
    return Decision(
        asked=asked,
        answers=check_answers(asked, values),
        deadline=last_day,
        decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
        decided_by=by.strip() or None,
        run=run,
    )


def begin_campaign(study: str, decision: Decision) -> None:
    """Start the campaign once for each decision, however often this is repeated."""
    run_deployment(
        "campaign/campaign",
        parameters={"study": study},
        idempotency_key=f"{decision.asked.plan_hash}-{decision.run}",
        timeout=0,
        as_subflow=False,
    )
