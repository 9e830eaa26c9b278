"""The room on a GPU below which the watch pauses its pool, and from which it opens it again."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pitboss.errors import BadInput
from pitboss.store.documents import replace_json

FILE = "approved.json"


@dataclass(frozen=True)
class Limits:
    """When the room counts as short and when as there again, in bytes.

    Attributes:
        low: Below this the room is short.
        restored: From this on it is there again; above `low`, so that a room that moves up and down
            by a little does not open and close the pool all the time.
    """

    low: int
    restored: int

    def __post_init__(self) -> None:
        if not 0 < self.low < self.restored:
            raise BadInput(
                f"The room counts as short below {self.low:,} bytes and as there again from "
                f"{self.restored:,} on.",
                where="limits of the headroom",
                next="Give the first a positive number and the second a larger one.",
            )


def write_limits(folder: Path, limits: Mapping[int, Limits]) -> None:
    """Keep the limits of approved GPUs for the watch."""
    replace_json(folder / FILE, {str(gpu): asdict(its) for gpu, its in limits.items()})


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
