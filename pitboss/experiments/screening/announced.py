"""What is said of a screening before anything starts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pitboss.games.scenes import scene
from pitboss.studies.workload import Shape, Workload, prompt_tokens

if TYPE_CHECKING:
    from pitboss.experiments.screening.experiment import Screening

SCREENED_BYTES = 140
"""One screened decision's names and numbers, uncompressed."""


def workload(screening: "Screening") -> Workload:
    """Every value of every feature in every prompt, one token each."""
    features, names = screening.screened(), screening.prompts
    values, prompts = len(screening.values), len(names)
    runs = features * values * prompts
    most = "" if screening.settings.every_feature else "≤ "
    longest = max((scene(name).text for name in names), key=len)
    return Workload(
        screening.name,
        screening.settings.kind,
        screening.model,
        prompts,
        runs,
        0,
        0,
        runs * SCREENED_BYTES,
        f"{most}{features:,} features × {values} values × {prompts} prompts, one token each, "
        f"and {SCREENED_BYTES} bytes; generates nothing",
        Shape(prompt_tokens(longest), 1, prefixes=prompts, saes=1),
    )


def notes(screening: "Screening") -> Iterator[str]:
    """What is computed, and what follows from choosing features by it."""
    yield (
        "Screening computes what the first token decides, which is where the scenes' decisions are "
        "made; what a patch does to the tokens after it is for the sampled runs to show."
    )
    if "most" in screening.values:
        yield (
            f"{screening.name} sets every feature to its largest activation in its own "
            f"{len(screening.prompts):,} prompts (most): a feature that is silent in all of them "
            "is changed by no value, and nothing is learned of it."
        )
    for count in screening.counts:
        yield (
            "Screening chooses which features are patched: the "
            f"{screening.most(count):,} that lead its ranking by {screening.settings.rank_by}. "
            "They are chosen by the effect that is then tested, so the share found causal says "
            "nothing of the features that are not patched."
        )
