"""Where the features come from that are patched: a selection, or a screening that ranks them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pitboss.experiments.selection.experiment import Selection
    from pitboss.saes.bank import FeatureBank

Pair = tuple[int, int]
"""Layer and feature."""


class BankSource(Protocol):
    """An experiment that makes a bank of features.

    Where it ranks them, `count` says how many from the top of its ranking are meant; a selection
    has one bank, and takes no count.
    """

    name: str

    @property
    def model(self) -> str:
        """The study's name of the model whose features these are."""

    @property
    def selection(self) -> "Selection | None":
        """The selection whose statistics the features have; None if nothing was compared."""

    def bank(self, count: int | None = None) -> "FeatureBank":
        """The features with their vectors and values.

        Raises:
            BadInput: The bank is not there, or it is damaged.
            Mismatch: The bank in its place was made for something else.
        """

    def chosen_by(self, count: int | None = None) -> Mapping[str, Any]:
        """What belongs to the identity of work on these features besides the features."""

    def shifts(self) -> Mapping[Pair, float]:
        """Difference of the log odds of stopping that was computed for a feature; empty if none."""

    def most(self, count: int | None = None) -> int:
        """Features at most, before it is known which they are."""
