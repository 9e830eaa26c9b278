"""Which features a kind of control concerns, and how the features of a chunk are patched.

Both are functions of the study's seed and of the features' names, as are the random directions.
"""

from pitboss.engine import Patch
from pitboss.engine.controls import random_change
from pitboss.engine.noise import noise_words
from pitboss.experiments.patching.settings import PatchingSettings
from pitboss.saes.bank import FeatureBank


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
