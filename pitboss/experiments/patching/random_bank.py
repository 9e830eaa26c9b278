"""The bank of a patching's random features: where it lies, and what it must be made of.

They are drawn from the SAEs once, beside the baseline, and kept, so that no worker needs the SAEs
to know its work.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitboss.errors import BadInput, Incomplete
from pitboss.store.identity import digest

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching
    from pitboss.saes.bank import FeatureBank

VERSION = 1


def path_of(patching: "Patching") -> Path:
    """Where the bank of the random features lies."""
    return patching.store.path / "banks" / f"{patching.name}-random.safetensors"


def load(patching: "Patching") -> "FeatureBank":
    """The random features with the two values of the features they are matched to.

    `meta` has `matched` (their names, by row), `by` (norm or norm and firing, by row) and `asked`
    (how many were asked for; there may be fewer matches).

    Raises:
        BadInput: The bank of the patched features does not exist or is damaged.
        Incomplete: The random features are not drawn yet, or were drawn for another bank.
    """
    from pitboss.saes.bank import FeatureBank

    path, expect = path_of(patching), expected(patching)
    try:
        return FeatureBank.load(path, expect=expect)
    except BadInput as error:
        raise Incomplete(
            f"There are no random features of {patching.name} yet: {error.what}",
            where=str(path),
            next=f"Run {patching.name}; they are drawn with its baseline.",
        ) from error


def is_drawn(patching: "Patching") -> bool:
    """Whether the bank is there, whole, and drawn for the features that are patched."""
    try:
        load(patching)
    except Incomplete:
        return False
    return True


def expected(patching: "Patching") -> dict[str, Any]:
    """What the bank's meta must say it was made of."""
    bank = patching.bank
    return {
        "made_of": digest(
            {
                "version": VERSION,
                "seed": patching.study.seed,
                "count": patching.settings.controls.random_features,
                "bank": {k: v for k, v in bank.meta.items() if k != "saes"},
                "saes": bank.meta["saes"],
                "screened": patching.chosen_by,
                "features": [bank.layer.tolist(), bank.feature.tolist()],
            }
        )
    }
