"""The next layer is read while one is in use, and nothing else stays."""

import gc
import threading
import weakref
from typing import Any

import pytest

from pitboss.errors import BadInput
from pitboss.saes.streaming import SaeStream


class Layer:
    """Stands for an SAE: what matters here is which layer it is and how long it lives."""

    def __init__(self, layer: int) -> None:
        self.layer = layer


def test_the_following_layer_is_read_meanwhile_and_each_once() -> None:
    begun = {layer: threading.Event() for layer in range(4)}
    may_end = {layer: threading.Event() for layer in range(4)}
    read: list[int] = []

    def load(layer: int) -> Any:
        begun[layer].set()
        assert may_end[layer].wait(10)
        read.append(layer)
        return Layer(layer)

    stream = SaeStream(load)
    may_end[0].set()
    first: Any = stream.get(0, following=1)
    assert first.layer == 0 and stream.get(0, following=1) is first
    assert begun[1].wait(10) and read == [0]  # on its way while 0 is in use
    may_end[1].set()
    gone = weakref.ref(first)
    del first
    second: Any = stream.get(1, following=2)
    assert second.layer == 1
    gc.collect()
    assert gone() is None
    may_end[2].set()
    may_end[3].set()
    assert stream.get(3).layer == 3  # not the one announced
    assert read == [0, 1, 2, 3]


def test_a_layer_that_cannot_be_read_says_so_when_it_is_asked_for() -> None:
    def load(layer: int) -> Any:
        if layer == 1:
            raise BadInput("no such file")
        return Layer(layer)

    stream = SaeStream(load)
    assert stream.get(0, following=1).layer == 0
    with pytest.raises(BadInput, match="no such file"):
        stream.get(1, following=2)
    assert stream.get(2).layer == 2
