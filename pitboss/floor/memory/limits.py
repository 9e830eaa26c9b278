"""When the watch closes an approved GPU: when a job would get less than a person agreed to."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from pitboss.errors import BadInput
from pitboss.floor.memory.headroom import Limits
from pitboss.floor.memory.thresholds import MARGINAL_FROM, SAFE_FROM, safety
from pitboss.floor.planning.changes import room_for_us
from pitboss.floor.planning.decision import Decision
from pitboss.floor.planning.offers import Use

FILE = "approved.json"
# Between closing and opening again, so that a room that moves by little does neither all the time.
GAP = 5_000_000_000


def limits_of(decision: Decision) -> dict[int, Limits]:
    """By GPU: the room that its jobs take together with the margin that was approved.

    Where a safe margin was approved the room runs short when it is safe no more, elsewhere when it
    is not even marginal. It is there again with `GAP` more, or as it was when the answer was given.
    """
    survey, found = decision.asked.survey, {}
    for gpu in sorted({use.gpu for use in decision.uses}):
        low = max(_needs(use) for use in decision.uses if use.gpu == gpu)
        then = room_for_us(survey.gpu(gpu), survey)
        found[gpu] = Limits(low, min(low + GAP, then) if then > low else low + GAP)
    return found


def _needs(use: Use) -> int:
    return use.footprint + (SAFE_FROM if safety(use.margin) == "safe" else MARGINAL_FROM)


def write_limits(folder: Path, limits: Mapping[int, Limits]) -> None:
    """Replace the file in one step."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = {str(gpu): {"low": its.low, "restored": its.restored} for gpu, its in limits.items()}
    temporary = (folder / FILE).with_suffix(".tmp")
    temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, folder / FILE)


def read_limits(folder: Path, gpus: Iterable[int], otherwise: Limits) -> dict[int, Limits]:
    """The limits of these GPUs: those of the newest decision that a campaign began on.

    Args:
        otherwise: For GPUs that no decision is about.

    Raises:
        BadInput: The file is damaged.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        approved = {int(gpu): Limits(**its) for gpu, its in found.items()}
    except FileNotFoundError:
        approved = {}
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(
            f"The approved limits cannot be read: {error}",
            where=str(path),
            next="Remove the file; the next campaign with an approval writes it again.",
        ) from error
    return {gpu: approved.get(gpu, otherwise) for gpu in gpus}
