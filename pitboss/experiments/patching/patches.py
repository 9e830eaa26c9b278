"""How the features of a chunk are patched. Random directions follow from the seed and a name."""

from pitboss.engine import Patch
from pitboss.engine.controls import random_change
from pitboss.experiments.patching.controls import named
from pitboss.experiments.patching.settings import PatchingSettings
from pitboss.saes.bank import FeatureBank


def patches_of(
    role: str, bank: FeatureBank, settings: PatchingSettings, seed: int
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


def bank_patch(bank: FeatureBank, i: int, value: float | None, settings: PatchingSettings) -> Patch:
    """The patch that sets a bank's i-th feature to a value (None: to its own)."""
    return Patch(
        layer=int(bank.layer[i]),
        feature=int(bank.feature[i]),
        enc=bank.enc[i],
        shift=float(bank.shift[i]),
        scale=float(bank.scale[i]),
        bias=float(bank.bias[i]),
        threshold=float(bank.threshold[i]),
        dec=bank.dec[i],
        value=value,
        mode=settings.mode,
        positions=settings.positions,
    )
