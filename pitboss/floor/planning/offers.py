"""What a person is asked before anything starts, as plain data that can be stored and shown.

An offer is one of the planner's options in the form in which it was put to the person. The
questions follow from the offers and the survey: which option, and for each group of other people's
or other jobs' processes whether our jobs may share their GPUs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pitboss.floor.memory.gpus import Gpu, Survey, Tenant
from pitboss.floor.memory.thresholds import FREE_UP_TO
from pitboss.floor.planning.options import Proposal
from pitboss.floor.planning.placement import Option, Placement

OPTION = "option"
YES, NO = "yes", "no"
HIDDEN = "processes that the driver does not name"


@dataclass(frozen=True, slots=True)
class Use:
    """One job on one GPU for a time.

    Attributes:
        job: As the planner names it, such as Exp2-llama.
        work: What of it, such as layers 1-8; empty for all.
        footprint: Bytes of GPU memory.
        starts_h, ends_h: Hours from the time of the survey.
        margin: Bytes left over.
        shares: Labels of the tenants that are there at the same time.
        untimed: Jobs before it of which nobody knows how long they take: it starts and ends then or
            later; its own name where that is not known of itself.
    """

    job: str
    work: str
    gpu: int
    footprint: int
    starts_h: float
    ends_h: float
    margin: int
    shares: tuple[str, ...] = ()
    untimed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """One option as it was put to a person.

    Attributes:
        starts_h, ends_h: Of the job that the options differ in, in hours.
        static: Whether each GPU's share is fixed beforehand. If not, it can do without a GPU that
            it may not share.
        untimed: Jobs of unknown duration that it waits for: it starts and ends then or later.
    """

    letter: str
    title: str
    starts_h: float
    ends_h: float
    risk: str
    pros: tuple[str, ...]
    cons: tuple[str, ...]
    static: bool
    uses: tuple[Use, ...]
    untimed: tuple[str, ...] = ()

    def gpus_of(self, job: str) -> list[int]:
        """Indices of the GPUs a job is on."""
        return sorted({use.gpu for use in self.uses if use.job == job})


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the form.

    Attributes:
        key: Name of the field, such as share_2_6_7.
        tenant: Label of the tenants it is about; empty for the choice of an option.
    """

    key: str
    text: str
    choices: tuple[str, ...]
    gpus: tuple[int, ...] = ()
    tenant: str = ""


def who(tenant: Tenant) -> str:
    """How a tenant is called in questions: a job of ours by its name, others by their user.

    A server that is started again has another pid but asks for the same permission.
    """
    if tenant.ours:
        return tenant.label
    return tenant.user or tenant.label


def tenants_of(gpu: Gpu) -> tuple[str, ...]:
    """Labels of everybody on a GPU, in alphabetical order; hidden processes are one of them."""
    return _labels(gpu.tenants, gpu)


def _labels(tenants: Sequence[Tenant], gpu: Gpu) -> tuple[str, ...]:
    hidden = {HIDDEN} if gpu.unattributed > FREE_UP_TO else set()
    return tuple(sorted({who(tenant) for tenant in tenants} | hidden))


def offers_of(proposal: Proposal) -> tuple[Offer, ...]:
    """The planner's options as they are put to a person, with where the other jobs go in each."""
    return tuple(_offer(option, proposal) for option in proposal.options)


def _offer(option: Option, proposal: Proposal) -> Offer:
    placements = sorted(
        (*proposal.house.placements, *option.placements), key=lambda p: (p.start_h, p.gpu)
    )
    return Offer(
        letter=option.letter,
        title=option.title,
        starts_h=option.starts_h,
        ends_h=option.ends_h,
        risk=option.risk,
        pros=option.pros,
        cons=option.cons,
        static=not option.elastic,
        uses=tuple(_use(placement, proposal) for placement in placements),
        untimed=option.untimed,
    )


def _use(placement: Placement, proposal: Proposal) -> Use:
    layers = placement.layers
    return Use(
        job=placement.job,
        work={"": "", "any": "any layers"}.get(layers, f"layers {layers}"),
        gpu=placement.gpu,
        footprint=placement.footprint,
        starts_h=placement.start_h,
        ends_h=placement.end_h,
        margin=placement.margin,
        shares=_shares(placement, proposal),
        untimed=placement.untimed if placement.speed.known else (*placement.untimed, placement.job),
    )


def _shares(placement: Placement, proposal: Proposal) -> tuple[str, ...]:
    """Whom a placement shares its GPU with; a job of ours that ended before is not among them."""
    if not placement.shared_with:
        return ()
    gpu = proposal.survey.gpu(placement.gpu)
    running = {job.name for job in proposal.house.running.values()}
    over = running.intersection(placement.waits_for)
    there = [tenant for tenant in gpu.tenants if not (tenant.ours and over)]
    return _labels(there, gpu) or (HIDDEN,)


def questions(survey: Survey, offers: Sequence[Offer], job: str) -> list[Question]:
    """Which option, and one yes or no for each group of tenants that an option would share with.

    Args:
        job: What the options differ in.
    """
    shared: dict[str, set[int]] = {}
    for offer in offers:
        for use in offer.uses:
            for label in use.shares:
                shared.setdefault(label, set()).add(use.gpu)
    letters = tuple(offer.letter for offer in offers)
    asked = [Question(OPTION, f"Which option for {job}?", letters)]
    for label, gpus in sorted(shared.items(), key=lambda item: sorted(item[1])):
        numbers = sorted(gpus)
        each = ", ".join(map(str, numbers))
        text = f"May GPU{'s' if len(numbers) > 1 else ''} {each} be shared with {label}?"
        key = "share_" + "_".join(map(str, numbers))
        if any(question.key == key for question in asked):  # two groups on the very same GPUs
            key += f"_{len(asked)}"
        asked.append(Question(key, text, (YES, NO), tuple(numbers), label))
    return asked


def offer_from_json(found: dict[str, Any]) -> Offer:
    """The offer that `dataclasses.asdict` made this of."""
    uses = tuple(Use(**_tuples(use, "shares", "untimed")) for use in found["uses"])
    return Offer(**{**_tuples(found, "pros", "cons", "untimed"), "uses": uses})


def _tuples(found: dict[str, Any], *names: str) -> dict[str, Any]:
    """JSON knows lists only."""
    return {**found, **{name: tuple(found[name]) for name in names}}


def survey_from_json(found: dict[str, Any]) -> Survey:
    """The survey that `dataclasses.asdict` made this of."""
    gpus = tuple(
        Gpu(**{**gpu, "tenants": tuple(Tenant(**tenant) for tenant in gpu["tenants"])})
        for gpu in found["gpus"]
    )
    return Survey(**{**found, "gpus": gpus})


def as_json(thing: Survey | Offer) -> dict[str, Any]:
    """Plain lists and mappings of it."""
    return asdict(thing)
