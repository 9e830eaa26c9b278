"""Drawing the random features: others of the same SAEs, each matched to a patched one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pitboss.engine.controls import Firing, random_features
from pitboss.errors import BadInput
from pitboss.experiments.patching.controls import drawn, named
from pitboss.experiments.patching.random_bank import expected
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer, load_sae

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching


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
        **expected(patching),
        "matched": [named(int(bank.layer[i]), int(bank.feature[i])) for i in rows],
        "by": [found[pair][1] for pair in ordered],
        "asked": wanted,
    }
    saes = (load_sae(release, layer, gate) for layer in by_layer)
    return FeatureBank.build(saes, by_layer, values=values, meta=meta)


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
