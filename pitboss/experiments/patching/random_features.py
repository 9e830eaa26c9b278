"""The random features: others of the same SAEs, each matched to a patched one, with its values.

They are drawn from the SAEs once, beside the baseline, and kept in a bank of their own, so that no
worker needs the SAEs to know its work.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitboss.engine.controls import Firing, random_features
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.patching.controls import drawn, named
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer, load_sae
from pitboss.store.identity import digest

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching

VERSION = 1


def path_of(patching: "Patching") -> Path:
    """Where the bank of the random features lies."""
    return patching.store.path / "banks" / f"{patching.name}-random.safetensors"


def load(patching: "Patching") -> FeatureBank:
    """The random features with the two values of the features they are matched to.

    `meta` has `matched` (their names, by row), `by` (norm or norm and firing, by row) and `asked`
    (how many were asked for; there may be fewer matches).

    Raises:
        BadInput: The bank of the patched features does not exist or is damaged.
        Incomplete: The random features are not drawn yet, or were drawn for another bank.
    """
    path, expect = path_of(patching), expected_meta(patching)
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


def draw(patching: "Patching") -> FeatureBank:
    """Draw the random features: a function of the study's seed and the features they match.

    Raises:
        BadInput: An SAE is missing or damaged, or no feature has a match.
        Incomplete: The statistics by which firing is matched are missing.
    """
    bank, seed = patching.bank, patching.study.seed
    release, gate = patching.study.models[patching.model].sae, patching.selection.gate
    found: dict[tuple[int, int], tuple[int, str]] = {}  # control -> row it is matched to, and how
    waiting = drawn(bank, seed, "random_feature")
    wanted = patching.settings.controls.random_features
    while waiting and len(found) < wanted:
        some, waiting = waiting[: wanted - len(found)], waiting[wanted - len(found) :]
        for layer in sorted({int(bank.layer[i]) for i in some}):
            sae = load_sae(release, layer, gate)
            firing = patching.selection.firing(layer)
            taken = bank.feature[bank.layer == layer].tolist()
            taken += [feature for at, feature in found if at == layer]
            for i in [i for i in some if int(bank.layer[i]) == layer]:
                match = _match(sae, int(bank.feature[i]), seed, taken, firing)
                if match is not None:
                    found[layer, match[0]] = i, match[1]
                    taken.append(match[0])
    if not found:
        raise BadInput(
            "No other feature has a decoder norm like that of a patched one.",
            where=f"{patching.name}.controls.random_features",
            next="Set it to 0, and know that nothing then says how often chance is found.",
        )
    ordered = sorted(found)
    by_layer: dict[int, list[int]] = {}
    for layer, feature in ordered:
        by_layer.setdefault(layer, []).append(feature)
    values = {
        name: {pair: float(bank.values[name][found[pair][0]]) for pair in ordered}
        for name in bank.values
    }
    rows = [found[pair][0] for pair in ordered]
    meta = {
        **expected_meta(patching),
        "matched": [named(int(bank.layer[i]), int(bank.feature[i])) for i in rows],
        "by": [found[pair][1] for pair in ordered],
        "asked": wanted,
    }
    saes = (load_sae(release, layer, gate) for layer in by_layer)
    return FeatureBank.build(saes, by_layer, values=values, meta=meta)


def expected_meta(patching: "Patching") -> dict[str, Any]:
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


def _match(
    sae: SaeLayer, like: int, seed: int, taken: Sequence[int], firing: Firing | None
) -> tuple[int, str] | None:
    """A feature like another in norm and firing, or in norm alone; None if there is none."""
    tries: list[tuple[Firing | None, str]] = [(None, "norm")]
    if firing is not None:
        tries.insert(0, (firing, "norm and firing"))
    for known, by in tries:
        try:
            (match,) = random_features(
                sae,
                like,
                seed=seed,
                name=f"feature/{named(sae.layer, like)}",
                exclude=taken,
                firing=known,
            )
        except BadInput:
            continue
        return match, by
    return None
