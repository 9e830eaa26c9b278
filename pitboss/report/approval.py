"""What a person reads before deciding where a study runs, and what is kept of the decision."""

from collections.abc import Sequence

from pitboss.floor.memory.thresholds import safety
from pitboss.floor.planning.decision import Asked, Decision
from pitboss.floor.planning.offers import Offer, Use
from pitboss.report.floor import floor_rows, gb
from pitboss.report.tables import markdown_table


def form_text(study: str, asked: Asked, days: float) -> str:
    """The text above the form: the floor, the options, what is recommended, what is asked."""
    again = ["**Asked again.** " + " ".join(asked.reasons) + "\n"] if asked.reasons else []
    host = f"{asked.survey.host}, {asked.survey.taken} ({asked.survey.source})"
    return "\n".join(
        [
            f"# Where may `{study}` run?\n",
            *again,
            f"**Recommended: {asked.recommended}.** {asked.why}\n",
            f"## The floor: {host}\n",
            markdown_table(floor_rows(asked.survey)),
            "## The options\n",
            markdown_table([_offer_row(offer, asked.job) for offer in asked.offers]),
            *(_placements(offer, asked.job) for offer in asked.offers),
            _besides(asked),
            *(f"- {note}" for note in asked.notes),
            "",
            "## What is asked\n",
            *(f"{n}. {q.text}" for n, q in enumerate(asked.questions, 1)),
            f"{len(asked.questions) + 1}. A deadline, if there is one.\n",
            f"Without an answer within {_days(days)} nothing starts, and this run fails.",
            f"The answer is bound to the plan `{asked.plan_hash}`; if the floor changes before it "
            "is given, it is asked again.",
        ]
    )


def answered(decision: Decision) -> str:
    """The decision for the run's page and log."""
    rows = [
        {"question": question.text, "answer": decision.answers[question.key]}
        for question in decision.asked.questions
    ]
    gpus = ", ".join(map(str, decision.gpus))
    return "\n".join(
        [
            f"Option {decision.offer.letter}, {decision.offer.title}: GPUs {gpus}. "
            f"Decided {decision.decided_at}"
            + (f" by {decision.decided_by}" if decision.decided_by else "")
            + (f"; deadline {decision.deadline}" if decision.deadline else "")
            + f". Plan `{decision.asked.plan_hash}`.\n",
            markdown_table(rows),
        ]
    )


def _offer_row(offer: Offer, job: str) -> dict[str, object]:
    margins = [gb(use.margin) for use in offer.uses if use.job == job]
    return {
        "option": f"**{offer.letter}**, {offer.title}",
        f"{job} on GPUs": ", ".join(str(gpu) for gpu in offer.gpus_of(job)),
        "starts": _in(offer.starts_h, offer.untimed),
        "ends": _in(offer.ends_h, offer.untimed),
        "smallest margin": f"{min(margins)} GB",
        "risk": offer.risk,
        "for": "; ".join(offer.pros),
        "against": "; ".join(offer.cons),
    }


def _placements(offer: Offer, job: str) -> str:
    rows = [_use_row(use) for use in offer.uses if use.job == job]
    return f"Option {offer.letter}:\n\n{markdown_table(rows)}"


def _besides(asked: Asked) -> str:
    """Where the other jobs go, which is the same in every option."""
    rows = [_use_row(use) for use in asked.offers[0].uses if use.job != asked.job]
    return f"Besides, in every option:\n\n{markdown_table(rows)}" if rows else ""


def _use_row(use: Use) -> dict[str, object]:
    return {
        "GPU": use.gpu,
        "job": " ".join((use.job, use.work)).strip(),
        "from": _in(use.starts_h, use.untimed),
        "to": _in(use.ends_h, use.untimed),
        "takes": f"{gb(use.footprint)} GB",
        "left": f"{gb(use.margin)} GB, {safety(use.margin)}",
        "shared with": ", ".join(use.shares) or "nobody",
    }


def _in(hours: float, untimed: Sequence[str]) -> str:
    if hours <= 0:
        return f"after {', '.join(untimed)}" if untimed else "now"
    said = f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"
    return f"at least {said}" if untimed else said


def _days(days: float) -> str:
    return f"{days:g} days" if days >= 1 else f"{days * 24 * 60:.3g} minutes"
