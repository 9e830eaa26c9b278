"""Whether a person's decision about where a study runs holds, and where it is kept.

It stops holding when the study's settings change, or when the floor is no longer the one it was
given for.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import HIDDEN, Gpu, Survey
from pitboss.floor.memory.headroom import Limits
from pitboss.floor.memory.thresholds import MARGINAL_FROM, SAFE_FROM, occupancy, safety
from pitboss.floor.planning.decision import FOLDER, NEXT, Decision
from pitboss.floor.planning.placement import Placement
from pitboss.formats import gb
from pitboss.store import Store
from pitboss.store.identity import digest

DECISION = f"{FOLDER}/decision.json"
# Between closing and opening again, so that a room that moves by little does neither all the time.
_GAP = 5_000_000_000


def fingerprint(store: Store) -> str:
    """Digest of everything that determines the study's results."""
    return digest(store.manifest)


def contradictions(decision: Decision, now: datetime) -> list[str]:
    """Why the answers do not go together, in words; empty if they do."""
    option, plan, found = decision.option, decision.asked.proposal, []
    for placement in (*plan.besides, *(() if option.elastic else option.placements)):
        for label in sorted(decision.refused.intersection(placement.shares)):
            found.append(
                f"Option {option.letter} puts {placement.work} on GPU {placement.gpu} beside "
                f"{label}, which the answer does not allow."
            )
    if plan.shared and not decision.gpus:
        found.append(f"Option {option.letter} is left without any GPU by the answers.")
    end = now + timedelta(hours=option.ends_h)
    if decision.deadline and end.date() > decision.deadline:
        found.append(
            f"Option {option.letter} takes {option.ends_h / 24:.1f} days, until "
            f"{end:%Y-%m-%d}; the deadline is {decision.deadline}."
        )
    elif decision.deadline and option.untimed:
        found.append(
            f"Nobody timed {', '.join(option.untimed)}, so when option {option.letter} ends is not "
            "known and no deadline can be kept: leave it out, or run a pilot first."
        )
    return found


def reasons_to_ask_again(
    decision: Decision, fresh: Survey, now: datetime | None = None
) -> list[str]:
    """What speaks against a decision just made: answers that contradict, or a changed floor."""
    asked = decision.asked
    found = contradictions(decision, now or datetime.now(UTC))
    return found + changes(asked.survey, fresh, asked.placements)


def still_holds(decision: Decision, study: str, fresh: Survey) -> list[str]:
    """Why a decision may not be acted on now; empty if it may.

    Stricter than needed in one way only: whoever came to an approved GPU since is a stranger to the
    decision. That tenants left, or that our own runs hold memory now, is no reason.

    Args:
        study: The study's fingerprint now.
    """
    if study != decision.asked.study:
        return ["The study's settings have changed since."]
    found = too_little(decision.asked.survey, fresh, decision.placements)
    if decision.deadline and fresh.taken[:10] > decision.deadline.isoformat():
        found.append(f"The deadline was {decision.deadline}.")
    return found


def keep(store: Store, decision: Decision) -> None:
    """Store a decision with the study, beside all earlier ones."""
    kept = decision.as_json()
    stamp = decision.decided_at.replace(":", "").replace("+0000", "Z")
    store.write_json(f"{FOLDER}/decisions/{stamp}-{decision.asked.plan_hash}.json", kept)
    store.write_json(DECISION, kept)


def latest(store: Store) -> Decision | None:
    """The decision in force, if one was ever made.

    Raises:
        BadInput: The file is damaged, or its plan was changed after the decision.
    """
    if not (store.path / DECISION).exists():
        return None
    return Decision.from_json(store.read_json(DECISION))


def require(store: Store, look_again: Callable[[Survey], Survey]) -> Decision:
    """The decision a study may start on now.

    Args:
        look_again: Gives the floor now, from where the survey of the decision was taken from.

    Raises:
        BadInput: There is none, or it does not hold any more; nothing has started.
    """
    decision = latest(store)
    if decision is None:
        raise BadInput(
            "Nobody has approved where this study runs; nothing has started.",
            where=str(store.path / DECISION),
            next=NEXT,
        )
    if reasons := still_holds(decision, fingerprint(store), look_again(decision.asked.survey)):
        raise BadInput(
            f"The decision of {decision.decided_at} does not hold any more: {' '.join(reasons)} "
            "Nothing has started.",
            where=str(store.path / DECISION),
            next=NEXT,
        )
    return decision


def limits_of(decision: Decision) -> dict[int, Limits]:
    """When the watch closes each approved GPU: when a job would get less than was agreed to.

    Where a safe margin was approved the room runs short when it is safe no more, elsewhere when it
    is not even marginal. It is there again with `_GAP` more, or as when the answer was given.
    """
    survey = decision.asked.survey
    needs: dict[int, int] = {}
    for placement in decision.placements:
        kept = SAFE_FROM if placement.safety == "safe" else MARGINAL_FROM
        needs[placement.gpu] = max(needs.get(placement.gpu, 0), placement.footprint + kept)
    found = {}
    for gpu, low in sorted(needs.items()):
        then = survey.room(survey.gpu(gpu))
        found[gpu] = Limits(low, min(low + _GAP, then) if then > low else low + _GAP)
    return found


def changes(before: Survey, now: Survey, placements: Sequence[Placement]) -> list[str]:
    """How the floor differs from the one a person was shown, in ways that matter to the answer.

    A GPU's class or a job's safety on it changed, a tenant came or went, or there is not enough
    memory any more. A tenant that only moves within its class is no change.
    """
    found = []
    was, is_ = ({gpu.index: gpu for gpu in survey.gpus} for survey in (before, now))
    for index in sorted(was.keys() | is_.keys()):
        if index not in is_:
            found.append(f"GPU {index} is not there any more.")
        elif index not in was:
            found.append(f"GPU {index} is new.")
        else:
            here = {p.footprint for p in placements if p.gpu == index}
            found += _of_gpu(was[index], is_[index], sorted(here))
    return found


def _of_gpu(was: Gpu, is_: Gpu, footprints: Sequence[int]) -> list[str]:
    name, found = f"GPU {was.index}", []
    if occupancy(was) != occupancy(is_):
        found.append(f"{name} was {occupancy(was)} and is {occupancy(is_)}.")
    before, now = set(was.neighbours), set(is_.neighbours)
    found += [f"{label} came to {name}." for label in sorted(now - before)]
    found += [f"{label} left {name}." for label in sorted(before - now)]
    for footprint in footprints:
        then, today = safety(was.free - footprint), safety(is_.free - footprint)
        if then != today:
            found.append(
                f"On {name}, a job of {gb(footprint)} was {then} and is {today}: "
                f"{gb(is_.free)} are free now, {gb(was.free)} were."
            )
    return found


def too_little(before: Survey, now: Survey, placements: Sequence[Placement]) -> list[str]:
    """Why approved GPUs cannot be used now: gone, with a new tenant, or without enough memory.

    `MARGINAL_FROM` is left to the other tenants whatever we do.
    """
    found, there = [], {gpu.index: gpu for gpu in now.gpus}
    for index in sorted({p.gpu for p in placements}):
        if index not in there:
            found.append(f"GPU {index} is not there any more.")
            continue
        gpu = there[index]
        strangers = _others(gpu, now) - set(before.gpu(index).neighbours)
        found += [f"{label} came to GPU {index}." for label in sorted(strangers)]
        at_once = [p.footprint for p in placements if p.gpu == index and p.start_h <= 0]
        footprint, room = max(at_once, default=0), now.room(gpu)
        if footprint and room < footprint + MARGINAL_FROM:
            found.append(
                f"GPU {index} has room for {gb(room)}; the job takes {gb(footprint)} and "
                f"{gb(MARGINAL_FROM)} stay with the others."
            )
    return found


def _others(gpu: Gpu, survey: Survey) -> set[str]:
    """Everybody else by name. Hidden processes may be our own; their memory counts all the same."""
    if survey.live:
        return {tenant.who for tenant in gpu.tenants if not tenant.ours}
    return set(gpu.neighbours) - {HIDDEN}
