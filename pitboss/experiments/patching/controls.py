"""The controls of a patching run: what is found where nothing in particular is patched.

Which features they concern is a function of the study's seed and of their names, as are the random
directions. Random features are drawn from the SAEs once and kept in a bank of their own, so that no
lane needs the SAEs to know its work.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pitboss.engine import Patch
from pitboss.engine.controls import Firing, random_change, random_features
from pitboss.engine.noise import noise_words
from pitboss.errors import BadInput
from pitboss.experiments.patching.arms import bank_patch
from pitboss.experiments.screening.ranking import patched_bank, screened_identity
from pitboss.experiments.selection import experiment as features
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer, load_sae
from pitboss.store import Store
from pitboss.store.files import locked
from pitboss.store.identity import digest
from pitboss.studies.model import Patching, Study

VERSION = 1


def named(layer: int, feature: int) -> str:
    """How a feature is called in columns and names, such as L3/F12."""
    return f"L{layer}/F{feature}"


def drawn(bank: FeatureBank, seed: int, kind: str) -> list[int]:
    """All rows of a bank in the random order in which a kind of control takes them."""

    def place(i: int) -> tuple[int, int]:
        name = named(int(bank.layer[i]), int(bank.feature[i]))
        return noise_words(seed, f"control/{kind}/{name}")

    return sorted(range(len(bank)), key=place)


def chosen(bank: FeatureBank, seed: int, kind: str, count: int) -> FeatureBank:
    """The features that a kind of control concerns, at most `count`, in the bank's order."""
    return bank.rows(sorted(drawn(bank, seed, kind)[:count]))


def patches_of(
    role: str, bank: FeatureBank, settings: Patching, seed: int
) -> dict[int, dict[str, Patch]]:
    """The patches of every feature of a bank: its row -> name of the arm -> patch."""
    if role == "own_value":
        delta = settings.model_copy(update={"mode": "delta"})
        return {i: {"own": bank_patch(bank, i, None, delta)} for i in range(len(bank))}
    if role == "reconstruction":
        whole = settings.model_copy(update={"mode": "reconstruct_only"})
        return {i: {"reconstruction": bank_patch(bank, i, None, whole)} for i in range(len(bank))}
    patches: dict[int, dict[str, Patch]] = {
        i: {
            name: bank_patch(bank, i, float(bank.values[name][i]), settings)
            for name in settings.values
        }
        for i in range(len(bank))
    }
    if role != "random_direction":
        return patches
    return {
        i: {
            name: random_change(
                [patch], seed=seed, name=f"direction/{named(patch.layer, patch.feature)}"
            )[0]
            for name, patch in of_feature.items()
        }
        for i, of_feature in patches.items()
    }


def random_bank(study: Study, store: Store) -> FeatureBank | None:
    """The random features with the two values of the features they are matched to.

    `meta` has `matched` (their names, by row), `by` (norm or norm and firing, by row) and `asked`
    (how many were asked for; there may be fewer matches). None if the study wants none.

    Raises:
        BadInput: The bank of the patched features, or an SAE, is missing or damaged.
        Incomplete: The statistics by which firing is matched are missing.
    """
    settings = study.patching
    if not settings.controls.random_features:
        return None
    path = store.path / "banks" / f"{settings.model}-random.safetensors"
    bank = patched_bank(study, store)
    expect = {
        "made_of": digest(
            {
                "version": VERSION,
                "seed": study.seed,
                "count": settings.controls.random_features,
                "bank": {k: v for k, v in bank.meta.items() if k != "saes"},
                "saes": bank.meta["saes"],
                "screened": screened_identity(study, store),
                "features": [bank.layer.tolist(), bank.feature.tolist()],
            }
        )
    }
    with locked(store.path / "banks" / ".random.lock"):
        if not _is_made(path, expect):
            _make(study, store, bank, expect).save(path)
        return FeatureBank.load(path, expect=expect)


def _is_made(path: Path, expect: dict[str, Any]) -> bool:
    try:
        FeatureBank.load(path, expect=expect)
    except BadInput:
        return False  # not there yet, or cut short
    return True


def _make(study: Study, store: Store, bank: FeatureBank, expect: dict[str, Any]) -> FeatureBank:
    settings, gate = study.patching, study.features.gate
    release = study.models[settings.model].sae
    found: dict[tuple[int, int], tuple[int, str]] = {}  # control -> row it is matched to, and how
    waiting = drawn(bank, study.seed, "random_feature")
    wanted = settings.controls.random_features
    while waiting and len(found) < wanted:
        some, waiting = waiting[: wanted - len(found)], waiting[wanted - len(found) :]
        for layer in sorted({int(bank.layer[i]) for i in some}):
            sae = load_sae(release, layer, gate)
            firing = _firing(study, store, layer)
            taken = bank.feature[bank.layer == layer].tolist()
            taken += [feature for at, feature in found if at == layer]
            for i in [i for i in some if int(bank.layer[i]) == layer]:
                match = _match(sae, int(bank.feature[i]), study.seed, taken, firing)
                if match is not None:
                    found[layer, match[0]] = i, match[1]
                    taken.append(match[0])
    if not found:
        raise BadInput(
            "No other feature has a decoder norm like that of a patched one.",
            where="patching.controls.random_features",
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
        **expect,
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


def _firing(study: Study, store: Store, layer: int) -> Firing | None:
    """How a layer's features fire at the games' last decisions; None for imported statistics."""
    if study.features.imported is not None:
        return None
    key = features.selection_key(study, study.patching.model)
    columns = ["layer", "feature", *(f"{x}_{g}" for x in ("n", "fired", "mean") for g in _GROUPS)]
    table = store.read("statistics", [key], columns=columns).to_pandas()
    rows = table[table["layer"] == layer].sort_values("feature")
    n = np.stack([rows[f"n_{g}"].to_numpy(np.float64) for g in _GROUPS])
    fired = np.stack([rows[f"fired_{g}"].to_numpy(np.float64) for g in _GROUPS])
    mean = np.stack([rows[f"mean_{g}"].to_numpy(np.float64) for g in _GROUPS])
    total = n.sum(0)
    return Firing(
        torch.from_numpy(fired.sum(0) / total), torch.from_numpy((mean * n).sum(0) / total)
    )


_GROUPS = ("risky", "safe")


def by_layer(bank: FeatureBank) -> Iterator[tuple[int, FeatureBank]]:
    """A bank's features layer by layer."""
    for layer in sorted(set(bank.layer.tolist())):
        yield layer, bank.rows([i for i, at in enumerate(bank.layer.tolist()) if at == layer])
