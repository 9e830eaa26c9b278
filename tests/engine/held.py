"""What is in memory at the moment at which nothing should be: while somebody waits for a device."""

import gc

import torch


def held() -> int:
    """Bytes of all tensors that anything refers to: objects, frames, exceptions, closures."""
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def alive(*kinds: type) -> list[str]:
    """Names of the kinds of objects that anything refers to, of these."""
    return sorted(type(thing).__name__ for thing in gc.get_objects() if type(thing) in kinds)


class Parks:
    """A pressure that takes the device away at some questions, and looks at what is held then.

    Args:
        most: What it allows at all others.

    Attributes:
        away: Bytes that were held each time somebody waited.
    """

    def __init__(self, *questions: int, most: int = 16) -> None:
        self.questions, self.most, self.asked, self.away = questions, most, 0, list[int]()

    def __call__(self, slots: int) -> int:
        self.asked += 1
        if not slots:
            self.away.append(held())
        return 0 if self.asked in self.questions else self.most
