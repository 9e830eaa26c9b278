"""What a person reads before deciding where a study runs, and what is kept of the decision."""

from pitboss.floor.planning.decision import Asked, Decision
from pitboss.floor.planning.tables import proposal_text, table
from pitboss.formats import duration


def form_text(study: str, asked: Asked, days: float) -> str:
    """The text above the form: the floor, the options, what is recommended, what is asked."""
    again = ["**Asked again.** " + " ".join(asked.reasons)] if asked.reasons else []
    questions = [*(question.text for question in asked.questions), "A deadline, if there is one."]
    return "\n\n".join(
        [
            f"# Where may `{study}` run?",
            *again,
            proposal_text(asked.proposal),
            "## What is asked",
            "\n".join(f"{n}. {text}" for n, text in enumerate(questions, 1)),
            f"Without an answer within {duration(days * 86_400)} nothing starts, and this run "
            f"fails. The answer is bound to the plan `{asked.plan_hash}`; if the floor changes "
            "before it is given, it is asked again.",
        ]
    )


def answered(decision: Decision) -> str:
    """The decision for the run's page and log."""
    rows = [
        {"question": question.text, "answer": decision.answers[question.key]}
        for question in decision.asked.questions
    ]
    gpus = ", ".join(map(str, decision.gpus or decision.option.gpus))
    by = f" by {decision.decided_by}" if decision.decided_by else ""
    deadline = f"; deadline {decision.deadline}" if decision.deadline else ""
    return (
        f"Option {decision.option.letter}, {decision.option.title}: GPUs {gpus}. Decided "
        f"{decision.decided_at}{by}{deadline}. Plan `{decision.asked.plan_hash}`.\n\n{table(rows)}"
    )
