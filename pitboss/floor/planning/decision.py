"""What was put to a person, and what the person decided: as values and as JSON.

A decision belongs to one plan: the study's settings, the survey and the options that were shown.
Their hash is stored with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.planning.offers import (
    NO,
    OPTION,
    Offer,
    Question,
    Use,
    as_json,
    offer_from_json,
    questions,
    survey_from_json,
)
from pitboss.store.identity import digest

FOLDER = "approval"
NEXT = "Start the deployment approve/approve for this study and answer its questions."


def plan_hash(study: str, survey: Survey, offers: Sequence[Offer]) -> str:
    """What an approval is bound to.

    Args:
        study: The study's fingerprint.
    """
    shown = {"study": study, "survey": as_json(survey), "offers": [as_json(o) for o in offers]}
    return digest(shown)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was put to a person.

    Attributes:
        study: The study's fingerprint.
        job: Name of the job that the options differ in.
        recommended: Letter of the option that the planner recommends. why: Its reason.
        notes: What the planner says besides, such as GPUs that are not used.
        reasons: Why it is asked again; empty the first time.
    """

    study: str
    job: str
    survey: Survey
    offers: tuple[Offer, ...]
    recommended: str
    why: str
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def plan_hash(self) -> str:
        return plan_hash(self.study, self.survey, self.offers)

    @property
    def questions(self) -> list[Question]:
        return questions(self.survey, self.offers, self.job)

    def offer(self, letter: str) -> Offer:
        """The option with this letter; raises BadInput naming those there are."""
        return _offer(self.offers, letter)

    def as_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "job": self.job,
            "plan_hash": self.plan_hash,
            "recommended": self.recommended,
            "why": self.why,
            "notes": list(self.notes),
            "reasons": list(self.reasons),
            "offers": [as_json(offer) for offer in self.offers],
            "survey": as_json(self.survey),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Asked":
        """Reads what `as_json` gave; raises BadInput if it was changed since."""
        made = cls(
            study=found["study"],
            job=found["job"],
            survey=survey_from_json(found["survey"]),
            offers=tuple(offer_from_json(offer) for offer in found["offers"]),
            recommended=found["recommended"],
            why=found["why"],
            notes=tuple(found["notes"]),
            reasons=tuple(found["reasons"]),
        )
        if made.plan_hash != found["plan_hash"]:
            raise BadInput(
                "The plan that was put to a person has been changed since.", where=FOLDER, next=NEXT
            )
        return made


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided, and on what grounds.

    Attributes:
        answers: Choice for each question by its key, the option's letter under "option".
        deadline: Last day on which the study may end, if one was given.
        decided_at: UTC, ISO 8601.
        decided_by: As the person or the command line said; None where nobody said.
        run: Id of the flow run that asked.
    """

    asked: Asked
    answers: dict[str, str]
    deadline: date | None
    decided_at: str
    decided_by: str | None
    run: str | None

    @property
    def offer(self) -> Offer:
        return self.asked.offer(self.answers[OPTION])

    @property
    def refused(self) -> frozenset[str]:
        """Labels of the tenants that no GPU may be shared with."""
        return frozenset(
            q.tenant for q in self.asked.questions if q.tenant and self.answers[q.key] == NO
        )

    @property
    def gpus(self) -> list[int]:
        """Indices of the GPUs that the job which was asked about may use."""
        return sorted(
            use.gpu
            for use in self.offer.uses
            if use.job == self.asked.job and self.refused.isdisjoint(use.shares)
        )

    def gpu_of(self, job: str) -> int:
        """Index of the GPU of another job than the one that was asked about.

        Where the plan put it; a job that the plan put nowhere, because it comes last, goes where
        the one that was asked about leaves most.
        """
        placed = [use for use in self.offer.uses if use.job == job]
        if placed:
            return placed[0].gpu
        ways = [u for u in self.offer.uses if u.job == self.asked.job and u.gpu in self.gpus]
        return max(ways, key=lambda use: (use.margin, -use.gpu)).gpu

    @property
    def uses(self) -> list[Use]:
        """All jobs on the GPUs on which they may run."""
        gpus = self.gpus
        return [u for u in self.offer.uses if u.job != self.asked.job or u.gpu in gpus]

    def as_json(self) -> dict[str, Any]:
        return {
            "option": self.answers[OPTION],
            "answers": dict(self.answers),
            "deadline": self.deadline.isoformat() if self.deadline else None,
            "decided_at": self.decided_at,
            "decided_by": self.decided_by,
            "run": self.run,
            "gpus": self.gpus,
            "besides": {use.job: use.gpu for use in self.uses if use.job != self.asked.job},
            "plan_hash": self.asked.plan_hash,
            "asked": self.asked.as_json(),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Decision":
        """Reads what `as_json` gave; raises BadInput if the plan in it was changed since."""
        return cls(
            asked=Asked.from_json(found["asked"]),
            answers=dict(found["answers"]),
            deadline=date.fromisoformat(found["deadline"]) if found["deadline"] else None,
            decided_at=found["decided_at"],
            decided_by=found["decided_by"],
            run=found["run"],
        )


def check_answers(asked: Asked, answers: Mapping[str, str]) -> dict[str, str]:
    """One choice for every question and nothing else.

    Raises:
        BadInput: Names every question without a valid answer.
    """
    wrong = [
        f"{question.key}: {answers.get(question.key, 'nothing')!r}, not one of "
        f"{', '.join(question.choices)}"
        for question in asked.questions
        if answers.get(question.key) not in question.choices
    ]
    keys = {question.key for question in asked.questions}
    wrong += [f"{key}: no such question" for key in sorted(set(answers) - keys)]
    if wrong:
        raise BadInput(f"The answer cannot be taken: {'; '.join(wrong)}.", next="Answer again.")
    return dict(answers)


def _offer(offers: Sequence[Offer], letter: str) -> Offer:
    for offer in offers:
        if offer.letter == letter:
            return offer
    raise BadInput(
        f"There is no option {letter!r}.", next=f"Use one of {', '.join(o.letter for o in offers)}."
    )
