"""What every compared program offers: a timed run at a batch size, and comparable answers."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch

from pitboss.engine import Request
from pitboss.engine.request import Mode
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer


class Unavailable(Exception):
    """This program cannot run here; the text says why."""


class Answer(NamedTuple):
    """One row's greedy tokens and what they were taken from.

    Attributes:
        scores: float32 on the CPU: the logits [steps, vocab], or, from a program that does not
            give them, the log probability of each token [steps].
    """

    tokens: tuple[int, ...]
    scores: torch.Tensor


class Program(ABC):
    """One way to make patched generations.

    Attributes:
        name: Short name, in files and on the command line.
        title: What it is, for people.
        mode: How its rows are patched; None for a program that cannot patch row by row.
        batches: Batch sizes worth trying, by device type.
        own_batches: Whether it chooses how many rows it takes at a time by itself.
        note: What a reader has to know beside its figures.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    mode: ClassVar[Mode | None] = "delta"
    batches: ClassVar[dict[str, tuple[int, ...]]]
    own_batches: ClassVar[bool] = False
    note: ClassVar[str] = ""

    def __init__(self, loaded: LoadedModel, saes: dict[int, SaeLayer]) -> None:
        self.loaded, self.saes = loaded, saes

    @abstractmethod
    def timed(self, rows: list[Request]) -> Callable[[], int]:
        """A function that generates these rows as one batch and returns how many tokens it made."""

    @abstractmethod
    def answers(self, rows: list[Request]) -> dict[str, Answer]:
        """Every row generated greedily, by key; all rows have prompts of the same length."""

    def differs(self) -> str | None:
        """Why its answers are known to differ from the model's on this shape, if they are."""
        return None
