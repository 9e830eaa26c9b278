"""What was put to a person, and what the person decided: as values and as JSON.

A decision belongs to one plan: the study's settings and the proposal that was shown. Their hash is
stored with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from pydantic import TypeAdapter

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.planning.options import Proposal
from pitboss.floor.planning.placement import Option, Placement
from pitboss.store.identity import digest

FOLDER = "approval"
NEXT = "Start the deployment approve/approve for this study and answer its questions."
OPTION = "option"
YES, NO = "yes", "no"

T = TypeVar("T", "Asked", "Decision")


@dataclass(frozen=True)
class Question:
    """One question of the form.

    Attributes:
        key: Name of the field, such as share_2_6_7.
        tenant: Label of the tenants it is about; empty for the choice of an option.
    """

    key: str
    text: str
    choices: tuple[str, ...]
    tenant: str = ""


@dataclass(frozen=True)
class Asked:
    """What was put to a person.

    Attributes:
        study: The study's fingerprint.
        reasons: Why it is asked again; empty the first time.
    """

    study: str
    proposal: Proposal
    reasons: tuple[str, ...] = ()

    @property
    def survey(self) -> Survey:
        return self.proposal.survey

    @property
    def placements(self) -> list[Placement]:
        """Every job on every GPU that any option would put it on."""
        options = self.proposal.options
        return [*self.proposal.besides, *(p for option in options for p in option.placements)]

    @property
    def plan_hash(self) -> str:
        """What an approval is bound to."""
        shown = _JSON[Asked].dump_python(self, mode="json")
        return digest({name: shown[name] for name in ("study", "proposal")})

    @property
    def questions(self) -> list[Question]:
        """Which option, and a yes or no for each group of tenants that one would share with."""
        shared: dict[str, set[int]] = {}
        for placement in self.placements:
            for label in placement.shares:
                shared.setdefault(label, set()).add(placement.gpu)
        job, letters = self.proposal.shared, tuple(o.letter for o in self.proposal.options)
        asked = [Question(OPTION, f"Which option{f' for {job}' if job else ''}?", letters)]
        for label, gpus in sorted(shared.items(), key=lambda item: sorted(item[1])):
            numbers = [str(gpu) for gpu in sorted(gpus)]
            which = f"GPU{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
            key = f"share_{'_'.join(numbers)}"
            if any(question.key == key for question in asked):  # two groups on the very same GPUs
                key += f"_{len(asked)}"
            asked.append(Question(key, f"May {which} be shared with {label}?", (YES, NO), label))
        return asked

    def as_json(self) -> dict[str, Any]:
        return {"plan_hash": self.plan_hash, **_JSON[Asked].dump_python(self, mode="json")}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Asked":
        """Reads what `as_json` gave; raises BadInput if it is damaged or was changed since."""
        return _read(cls, found)


@dataclass(frozen=True)
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
    def option(self) -> Option:
        return self.asked.proposal.option(self.answers[OPTION])

    @property
    def refused(self) -> frozenset[str]:
        """Labels of the tenants that no GPU may be shared with."""
        return frozenset(
            q.tenant for q in self.asked.questions if q.tenant and self.answers[q.key] == NO
        )

    @property
    def placements(self) -> list[Placement]:
        """All jobs on the GPUs on which they may run."""
        refused = self.refused
        allowed = (p for p in self.option.placements if refused.isdisjoint(p.shares))
        return [*self.asked.proposal.besides, *allowed]

    @property
    def gpus(self) -> list[int]:
        """Indices of the GPUs that the job which the options differ in may use."""
        shared = self.asked.proposal.shared
        return sorted({p.gpu for p in self.placements if p.job == shared})

    def gpu_of(self, job: str) -> int:
        """Index of the GPU of another job than the shared one.

        Where the plan put it; a job that the plan put nowhere, because it comes last, goes where
        the shared one leaves most.
        """
        if placed := [p.gpu for p in self.placements if p.job == job]:
            return placed[0]
        shared = self.asked.proposal.shared
        ways = [p for p in self.placements if p.job == shared]
        return max(ways, key=lambda p: (p.margin, -p.gpu)).gpu

    def as_json(self) -> dict[str, Any]:
        dumped = _JSON[Decision].dump_python(self, mode="json")
        return {"plan_hash": self.asked.plan_hash, "gpus": self.gpus, **dumped}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Decision":
        """Reads what `as_json` gave; raises BadInput if it is damaged or was changed since."""
        return _read(cls, found)


_JSON: dict[type, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in (Asked, Decision)}


def _read(kind: type[T], found: Mapping[str, Any]) -> T:
    try:
        read: T = _JSON[kind].validate_python(found)
    except ValueError as error:
        raise BadInput(
            f"What was asked or decided cannot be read: {error}", where=FOLDER, next=NEXT
        ) from error
    asked = read if isinstance(read, Asked) else read.asked
    if asked.plan_hash != found.get("plan_hash"):
        raise BadInput(
            "The plan that was put to a person has been changed since.", where=FOLDER, next=NEXT
        )
    return read


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
