"""Which features a kind of control concerns: a function of the study's seed and their names."""

from typing import TYPE_CHECKING

from pitboss.counted import noise_words

if TYPE_CHECKING:
    from pitboss.saes.bank import FeatureBank


def named(layer: int, feature: int) -> str:
    """How a feature is called in columns and names, such as L3/F12."""
    return f"L{layer}/F{feature}"


def drawn(bank: "FeatureBank", seed: int, kind: str) -> list[int]:
    """All rows of a bank in the random order in which a kind of control takes them."""

    def place(i: int) -> tuple[int, int]:
        name = named(int(bank.layer[i]), int(bank.feature[i]))
        return noise_words(seed, f"control/{kind}/{name}")

    return sorted(range(len(bank)), key=place)


def chosen(bank: "FeatureBank", seed: int, kind: str, count: int) -> "FeatureBank":
    """The features that a kind of control concerns, at most `count`, in the bank's order."""
    return bank.rows(sorted(drawn(bank, seed, kind)[:count]))
