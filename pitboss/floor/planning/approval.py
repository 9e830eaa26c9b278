"""Whether a person's decision about where a study runs holds, and where it is kept.

It stops holding when the study's settings change, or when the floor is no longer the one it was
given for.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pitboss.errors import BadInput
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.planning.changes import changes, too_little
from pitboss.floor.planning.decision import FOLDER, NEXT, Asked, Decision
from pitboss.floor.planning.offers import Use
from pitboss.store import Store
from pitboss.store.identity import digest

DECISION = f"{FOLDER}/decision.json"


def fingerprint(store: Store) -> str:
    """Digest of everything that determines the study's results."""
    return digest(store.manifest)


def contradictions(decision: Decision, now: datetime) -> list[str]:
    """Why the answers do not go together, in words; empty if they do."""
    offer, found = decision.offer, []
    fixed = [use for use in offer.uses if offer.static or use.job != decision.asked.job]
    for use in fixed:
        for label in sorted(decision.refused.intersection(use.shares)):
            found.append(
                f"Option {offer.letter} puts {' '.join((use.job, use.work)).strip()} on GPU "
                f"{use.gpu} beside {label}, which the answer does not allow."
            )
    if not decision.gpus:
        found.append(f"Option {offer.letter} is left without any GPU by the answers.")
    end = now + timedelta(hours=offer.ends_h)
    if decision.deadline and end.date() > decision.deadline:
        found.append(
            f"Option {offer.letter} takes {offer.ends_h / 24:.1f} days, until "
            f"{end:%Y-%m-%d}; the deadline is {decision.deadline}."
        )
    elif decision.deadline and offer.untimed:
        found.append(
            f"Nobody timed {', '.join(offer.untimed)}, so when option {offer.letter} ends is not "
            "known and no deadline can be kept: leave it out, or run a pilot first."
        )
    return found


def reasons_to_ask_again(
    decision: Decision, fresh: Survey, now: datetime | None = None
) -> list[str]:
    """What speaks against a decision just made: answers that contradict, or a changed floor."""
    found = contradictions(decision, now or datetime.now(UTC))
    return found + changes(decision.asked.survey, fresh, _uses(decision.asked))


def still_holds(decision: Decision, study: str, fresh: Survey) -> list[str]:
    """Why a decision may not be acted on now; empty if it may.

    Stricter than needed in one way only: whoever came to an approved GPU since is a stranger to the
    decision. That tenants left, or that our own runs hold memory now, is no reason.

    Args:
        study: The study's fingerprint now.
    """
    if study != decision.asked.study:
        return ["The study's settings have changed since."]
    uses = decision.uses
    found = too_little(decision.asked.survey, fresh, uses, {use.gpu for use in uses})
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
    found = store.read_json(DECISION)
    try:
        return Decision.from_json(found)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"The decision cannot be read: {error!r}", where=str(store.path / DECISION), next=NEXT
        ) from error


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


def _uses(asked: Asked) -> list[Use]:
    return [use for offer in asked.offers for use in offer.uses]
