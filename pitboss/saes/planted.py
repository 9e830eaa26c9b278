"""Features with a known answer, planted in the lab's SAEs when these were built."""

import json
from collections.abc import Collection

from pitboss.errors import BadInput
from pitboss.models.catalogue import LAB_DIR

ROLES = ("causal", "null")


def planted(release: str) -> dict[int, dict[str, list[int]]]:
    """Planted features of a release: layer -> {"causal": ids, "null": ids}, ids ascending.

    Raises:
        BadInput: The list is missing, or the release has no planted features.
    """
    path = LAB_DIR / "planted.json"
    if not path.is_file():
        raise BadInput(
            "The list of planted features is not there.",
            where=str(path),
            next="Restore the lab folder with `make lab`, or set features.include to none.",
        )
    every = json.loads(path.read_text(encoding="utf-8"))
    if release not in every:
        raise BadInput(
            f"{release} has no planted features.",
            where=str(path),
            next=f"Set features.include to none, or use one of {', '.join(every)}.",
        )
    return {
        int(layer): {
            role: sorted(f["feature"] for f in features if f["role"] == role) for role in ROLES
        }
        for layer, features in every[release].items()
    }


def planted_in(release: str, layers: Collection[int]) -> dict[str, set[tuple[int, int]]]:
    """Planted features of some layers: role -> (layer, feature). Raises as `planted`."""
    known = planted(release)
    return {
        role: {(layer, i) for layer in layers for i in known.get(layer, {}).get(role, ())}
        for role in ROLES
    }
